"""Files of private GitHub releases. Their public address answers 404; with a token, the API leads to the bytes.

https://docs.github.com/rest/releases/assets#get-a-release-asset. Runs on Python 3.10 too, for consumers of the image.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote, unquote, urlsplit

import requests

from ci.fetch.session import Bearer, Limits, Origin, body, get, require_success
from ci.fetch.source import AbsentError, TransientError, public_url
from ci.host.errors import AccessError, FetchError, InputError
from ci.host.secrets import read_secret

SERVER_URL = "https://github.com"
API_URL = "https://api.github.com"
LARGEST_ANSWER = 16 << 20

_ASSET_PATH = re.compile(r"/([^/]+)/([^/]+)/releases/download/([^/]+)/([^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubAccess:
    """A GitHub, its API, and a token that is sent to the API and to nobody else."""

    server: Origin
    api_url: str
    bearer: Bearer


def access_from(environ: Mapping[str, str]) -> GitHubAccess | None:
    """What GITHUB_TOKEN, GITHUB_SERVER_URL and GITHUB_API_URL say, as Actions sets them; None without a token.

    Raises InputError where the API is no place for a token.
    """
    token = read_secret(environ, "GITHUB_TOKEN")
    if token is None:
        return None
    server = (environ.get("GITHUB_SERVER_URL") or SERVER_URL).rstrip("/")
    # https://docs.github.com/en/enterprise-server/rest/using-the-rest-api/getting-started-with-the-rest-api
    default = API_URL if server == SERVER_URL else f"{server}/api/v3"
    api = (environ.get("GITHUB_API_URL") or default).rstrip("/")
    origin = Origin.of(api)
    if not origin.keeps_secrets:
        raise InputError(f"GITHUB_API_URL is {api!r}, where no token may be sent", hint=f"It begins like {API_URL}.")
    return GitHubAccess(server=Origin.of(server), api_url=api, bearer=Bearer(token, origin))


def is_release_asset(url: str, access: GitHubAccess) -> bool:
    """True for a release's file on the GitHub that the token is for."""
    return Origin.of(url) == access.server and _ASSET_PATH.fullmatch(urlsplit(url).path) is not None


def asset_api_url(session: requests.Session, url: str, access: GitHubAccess, limits: Limits) -> str:
    """Where the API has the release's file that `url` is the public address of.

    Raises AbsentError where there is none, AccessError where the token does not do.
    """
    found = _ASSET_PATH.fullmatch(urlsplit(url).path)
    if found is None:
        raise ValueError(f"{public_url(url)} is no release's file")
    owner, repository, tag, name = (quote(unquote(part), safe="") for part in found.groups())
    release = f"{access.api_url}/repos/{owner}/{repository}/releases/tags/{tag}"
    headers = {"Accept": "application/vnd.github+json"}
    with get(session, release, limits, headers=headers, bearer=access.bearer) as response:
        if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise AccessError(
                f"GITHUB_TOKEN does not let {public_url(url)} be read: GitHub answered {response.status_code}",
                hint="It needs `contents: read` on that repository, and must not have expired.",
            )
        require_success(release, response)
        assets = _assets(response, limits)
    for asset in assets:
        address = asset.get("url")
        if asset.get("name") == unquote(name) and isinstance(address, str):
            if Origin.of(address) != access.bearer.origin:
                raise FetchError(
                    f"GitHub sends elsewhere for {public_url(url)}: {public_url(address)}", hint="Check GITHUB_API_URL."
                )
            return address
    raise AbsentError


def _assets(response: requests.Response, limits: Limits) -> list[dict[str, object]]:
    data = bytearray()
    for chunk in body(response, limits):
        data += chunk
        if len(data) > LARGEST_ANSWER:
            break
    try:
        assets = json.loads(data)["assets"]
        return [asset for asset in assets if isinstance(asset, dict)]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TransientError("GitHub's answer makes no sense") from None
