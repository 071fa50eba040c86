"""Opening a URL for a download, wherever it leads.

The public address of a private GitHub release's file answers 404; with a token, the API leads to the bytes:
https://docs.github.com/rest/releases/assets#get-a-release-asset.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO
from urllib.parse import quote, unquote, urlsplit

import requests

from ci.fetch.github_access import GitHubAccess
from ci.fetch.limits import wait_seconds
from ci.fetch.retry import Patience
from ci.fetch.session import Bearer, PatientSession, ask, body, origin, require_success
from ci.fetch.source import (
    AbsentError,
    DoubtError,
    Source,
    TransientError,
    collected,
    html_error,
    printable,
    public_url,
)
from ci.host.errors import AccessError, FetchError, InputError
from ci.host.files import CHUNK_BYTES, open_file

# No file has a size of more digits; a server may send 5,000 of them, which Python does not take for a number.
SIZE = re.compile(r"\d{1,18}", re.ASCII)
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
# https://www.iana.org/assignments/http-parameters, but for identity. Other words, such as utf-8, change nothing.
CODINGS = frozenset(
    {
        "aes128gcm", "br", "compress", "dcb", "dcz", "deflate", "exi", "gzip", "pack200-gzip", "x-compress", "x-gzip",
        "zstd",
    }
)  # fmt: skip
VALIDATOR = re.compile(r"[ -~]{1,1000}")
RELEASE_ASSET = re.compile(r"/([^/]+)/([^/]+)/releases/download/([^/]+)/([^/]+)")
LARGEST_ANSWER = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How URLs are asked: how patiently, and at which GitHub with which token where one is needed.

    `fresh` is past all caches on the way.
    """

    patience: Patience = field(default_factory=Patience)
    github: GitHubAccess | None = None
    fresh: bool = False


ANONYMOUS = Client()


@contextmanager
def open_source(
    url: str, *, have: int = 0, validator: str | None = None, client: Client = ANONYMOUS
) -> Iterator[Source]:
    """Open an https, http or file URL, from byte `have` on if the server still has the object with this `validator`.

    Raises TransientError, DoubtError, AbsentError, FetchError, AccessError or InputError, the first also while the
    chunks are read.
    """
    if url[:5].lower() == "file:":
        with _open_file(url) as file:
            total = os.fstat(file.fileno()).st_size
            yield Source(chunks=_file_chunks(url, file), offset=0, total=total, validator=None)
        return
    origin(url)  # before anything else looks into it
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    if client.fresh:
        headers["Cache-Control"] = "no-cache"  # RFC 9111, 5.2.1.4
    with PatientSession(client.patience) as session, _ask(session, url, headers, client.github) as response:
        yield _open_response(url, response, have, validator, client.patience)


def _ask(session: PatientSession, url: str, headers: dict[str, str], access: GitHubAccess | None) -> requests.Response:
    """The answer to `url`; the public address is always tried first, without a token."""
    response = ask(session, "GET", url, headers)
    asset = RELEASE_ASSET.fullmatch(urlsplit(url).path)
    if not (response.status_code == HTTPStatus.NOT_FOUND and asset and access and access.token):
        return response
    if origin(url) != origin(access.server_url):
        return response
    response.close()
    owner, repository, tag, _ = (quote(unquote(part), safe="") for part in asset.groups())
    release = f"{access.api_url}/repos/{owner}/{repository}/releases/tags/{tag}"
    bearer = Bearer(access.token, access.api_url)
    at = _asset_api_url(session, url, release, bearer)
    return ask(session, "GET", at, {**headers, "Accept": "application/octet-stream"}, bearer=bearer)


def _asset_api_url(session: PatientSession, url: str, release: str, bearer: Bearer) -> str:
    """Where the API, which has the release at the address `release`, has its file that is at `url` for the public.

    Raises AbsentError where there is none, AccessError where the token does not do.
    """
    headers = {"Accept": "application/vnd.github+json"}
    with ask(session, "GET", release, headers, bearer=bearer, abroad=False) as response:
        limited = wait_seconds(response.status_code, response.headers) is not None
        if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and not limited:
            raise AccessError(
                f"the token does not let {public_url(url)} be read: GitHub answered {response.status_code}",
                hint="It needs `contents: read` on that repository, and must not have expired.",
            )
        require_success(release, response)
        answer = collected(body(response, session.patience), LARGEST_ANSWER)
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    try:
        assets = json.loads(answer or b"")["assets"]
        found = [asset["url"] for asset in assets if asset["name"] == name]
        servers = {origin(url) for url in found}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError):
        raise TransientError("GitHub's answer makes no sense") from None
    if not found:
        raise AbsentError
    if servers != {bearer.origin}:
        raise FetchError(
            f"GitHub sends elsewhere for {public_url(url)}: {public_url(found[0])}", hint="Check GITHUB_API_URL."
        )
    return str(found[0])


def _open_file(url: str) -> IO[bytes]:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise InputError(
            f"{public_url(url)} names another machine", hint="A file URL has three slashes: file:///path/to/image"
        )
    try:
        return open_file(Path(unquote(parts.path)))
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a path with a zero byte
        raise AbsentError from None
    except OSError as error:
        raise _unreadable(url, error) from error


def _file_chunks(url: str, file: IO[bytes]) -> Iterator[bytes]:
    try:
        while block := file.read(CHUNK_BYTES):
            yield block
    except OSError as error:
        raise _unreadable(url, error) from error


def _unreadable(url: str, error: OSError) -> FetchError:
    return FetchError(
        f"{public_url(url)} cannot be read: {error.strerror}", hint="It must be a file that may be read by this user."
    )


def _open_response(
    url: str, response: requests.Response, have: int, validator: str | None, patience: Patience
) -> Source:
    """What came, or DoubtError where that is another part than the one asked for; not every server heeds If-Range."""
    headers, status = response.headers, response.status_code
    if have and status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise DoubtError("the server's file is not longer than the part that is here")
    require_success(url, response)
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        raise html_error(url)
    length = headers.get("Content-Length", "")
    offset, total = 0, int(length) if SIZE.fullmatch(length) else None
    if status == HTTPStatus.PARTIAL_CONTENT or "Content-Range" in headers:
        offset, total = _part(headers.get("Content-Range"), status, have, several=kind.startswith("multipart/"))
    if offset and headers.get("ETag" if validator and validator[0] == '"' else "Last-Modified", validator) != validator:
        raise DoubtError("the server's file was replaced")
    chunks, coding = body(response, patience), _coding(response)
    return Source(chunks=chunks, offset=offset, total=total, validator=_validator(response), coding=coding)


def _part(told: str | None, status: int, have: int, *, several: bool) -> tuple[int, int | None]:
    """Where the bytes begin, and the whole object's size where that is told; from byte `have` on, or all of it.

    What is none of both raises DoubtError: RFC 9110, 14.4, 15.3.7. A 206 for the whole is taken as that.
    """
    match = CONTENT_RANGE.fullmatch(told or "")
    if match and not several:
        first, last, total = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
        if have and first == have <= last < (total or last + 1) and status == HTTPStatus.PARTIAL_CONTENT:
            return have, total
        if (first, last + 1) == (0, total):
            return 0, total
    asked = f"those from byte {have} on" if have else "all of them"
    shown = "it does not say which" if told is None or several else printable(told)[:80]
    raise DoubtError(f"the server sent other bytes than asked for, {asked}: {shown}")


def _coding(response: requests.Response) -> str | None:
    words = response.headers.get("Content-Encoding", "").lower().split(",")
    return next((word.strip() for word in words if word.strip() in CODINGS), None)


def _validator(response: requests.Response) -> str | None:
    """What If-Range may carry: a strong ETag, else the modification date (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag")
    known = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
    return known if VALIDATOR.fullmatch(known) else None
