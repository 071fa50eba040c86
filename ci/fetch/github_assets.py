"""Files of private GitHub releases. Their public address answers 404; with a token, the API leads to the bytes.

https://docs.github.com/rest/releases/assets#get-a-release-asset. Runs on Python 3.10 too, for consumers of the image.
"""

import json
import re
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

import requests

from ci.fetch.github_access import GitHubAccess
from ci.fetch.retry import Patience
from ci.fetch.session import Bearer, body, get, origin, require_success
from ci.fetch.source import AbsentError, TransientError, collected, public_url
from ci.host.errors import AccessError, FetchError

LARGEST_ANSWER = 16 << 20

_ASSET_PATH = re.compile(r"/([^/]+)/([^/]+)/releases/download/([^/]+)/([^/]+)")


def is_release_asset(url: str, access: GitHubAccess) -> bool:
    """True for a release's file on the GitHub that the token is for."""
    return origin(url) == origin(access.server_url) and _ASSET_PATH.fullmatch(urlsplit(url).path) is not None


def asset_api_url(session: requests.Session, url: str, access: GitHubAccess, bearer: Bearer, patience: Patience) -> str:
    """Where the API has the release's file that `url` is the public address of.

    Raises AbsentError where there is none, AccessError where the token does not do.
    """
    owner, repository, _, _, tag, name = (quote(unquote(part), safe="") for part in urlsplit(url).path.split("/")[1:])
    release = f"{access.api_url}/repos/{owner}/{repository}/releases/tags/{tag}"
    headers = {"Accept": "application/vnd.github+json"}
    with get(session, release, patience, headers=headers, bearer=bearer) as response:
        if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise AccessError(
                f"GITHUB_TOKEN does not let {public_url(url)} be read: GitHub answered {response.status_code}",
                hint="It needs `contents: read` on that repository, and must not have expired.",
            )
        require_success(release, response)
        address = _asset_url(collected(body(response, patience), LARGEST_ANSWER), unquote(name))
    if origin(address) != bearer.origin:
        raise FetchError(
            f"GitHub sends elsewhere for {public_url(url)}: {public_url(address)}", hint="Check GITHUB_API_URL."
        )
    return address


def _asset_url(release: bytes | None, name: str) -> str:
    try:
        assets = json.loads(release or b"")["assets"]
        found = [str(asset["url"]) for asset in assets if asset["name"] == name]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TransientError("GitHub's answer makes no sense") from None
    if not found:
        raise AbsentError
    return found[0]
