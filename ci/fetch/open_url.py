"""Opening a URL for a download, wherever it leads.

Runs on Python 3.10 too, for consumers of the image.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests

from ci.fetch.github_assets import GitHubAccess, asset_api_url, is_release_asset
from ci.fetch.ranges import CONTENT_RANGE, Lanes, Whole, widened
from ci.fetch.session import Bearer, Limits, Origin, body, get, new_session, require_success
from ci.fetch.source import AbsentError, Source, StalePartError, html_error, public_url
from ci.host.errors import FetchError, InputError
from ci.host.files import CHUNK_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How URLs are asked: how patiently, over how many connections, and with which token where one is needed."""

    limits: Limits = field(default_factory=Limits)
    lanes: Lanes = field(default_factory=Lanes)
    github: GitHubAccess | None = None


ANONYMOUS = Client()


@contextmanager
def open_source(
    url: str, *, have: int = 0, validator: str | None = None, client: Client = ANONYMOUS
) -> Iterator[Source]:
    """Open an https, http or file URL, from byte `have` on if the server still has the object with this `validator`.

    Raises TransientError, AbsentError, FetchError, AccessError or InputError, the first also while the chunks are read.
    """
    if url[:5].lower() == "file:":
        yield _open_file(url)
        return
    Origin.of(url)  # before anything else looks into it
    with new_session(client.limits) as session, _ask(session, url, have, validator, client) as (response, bearer):
        _require_same(response, have, validator)
        yield _open_response(url, response, have, bearer, client)


@contextmanager
def _ask(
    session: requests.Session, url: str, have: int, validator: str | None, client: Client
) -> Iterator[tuple[requests.Response, Bearer | None]]:
    """The answer to `url`, and the token that was needed for it: the public address is always tried first."""
    headers = {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}
    response, bearer = get(session, url, client.limits, headers=headers), None
    access = client.github
    if response.status_code == HTTPStatus.NOT_FOUND and access and is_release_asset(url, access):
        response.close()
        bearer = access.bearer
        headers["Accept"] = "application/octet-stream"
        at = asset_api_url(session, url, access, client.limits)
        response = get(session, at, client.limits, headers=headers, bearer=bearer)
    with response:
        yield response, bearer


def _open_file(url: str) -> Source:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise InputError(
            f"{public_url(url)} names another machine", hint="A file URL has three slashes: file:///path/to/image"
        )
    path = Path(unquote(parts.path))
    if not path.exists():
        raise AbsentError
    if not path.is_file():
        raise FetchError(f"{public_url(url)} is not a file", hint="Name the image itself, not its folder.")
    return Source(chunks=_file_chunks(path), offset=0, total=path.stat().st_size, validator=None)


def _file_chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(CHUNK_BYTES):
                yield block
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror}", hint="Check the file's permissions.") from error


def _require_same(response: requests.Response, have: int, validator: str | None) -> None:
    """Raise StalePartError where the part that is here cannot be continued; not every server heeds If-Range."""
    if not have:
        return
    if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise StalePartError("the server's file is not longer than the part that is here", retry_after=0)
    etag, continued = response.headers.get("ETag"), response.status_code == HTTPStatus.PARTIAL_CONTENT
    if continued and etag and validator and validator.startswith('"') and etag != validator:
        raise StalePartError("the server's file was replaced", retry_after=0)


def _open_response(url: str, response: requests.Response, have: int, bearer: Bearer | None, client: Client) -> Source:
    require_success(url, response)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise html_error(url)
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    offset = 0
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not have or match is None or int(match[1]) != have:
            raise StalePartError("the server sent another part than the one asked for", retry_after=0)
        offset, total = have, None if match[3] == "*" else int(match[3])
    chunks = body(response, client.limits)
    source = Source(chunks=chunks, offset=offset, total=total, validator=_validator(response))
    whole = _whole(response, total, bearer, client.limits)
    if whole is None or client.lanes.connections < 2:
        return source
    return replace(source, chunks=widened(source, whole, client.lanes, response))


def _whole(response: requests.Response, total: int | None, bearer: Bearer | None, limits: Limits) -> Whole | None:
    """What further connections would ask for; None where the server gives no reason to think that it has ranges."""
    etag = response.headers.get("ETag", "")
    offered = response.status_code == HTTPStatus.PARTIAL_CONTENT or response.headers.get("Accept-Ranges") == "bytes"
    if total is None or not offered or not etag.startswith('"'):
        return None
    return Whole(url=response.url, total=total, etag=etag, bearer=bearer, limits=limits)


def _validator(response: requests.Response) -> str | None:
    """What If-Range may carry: a strong ETag, else the modification date (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")
