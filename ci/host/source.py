"""Opening a URL for `download`: its bytes on their way, and failures sorted into passing, absent and final ones.

Runs on Python 3.10 too, for consumers of the image.
"""

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3.exceptions

from ci.host.errors import FetchError, InputError
from ci.host.files import CHUNK_BYTES

TIMEOUT = (15.0, 60.0)  # seconds to connect, seconds without a byte
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Bytes on their way. They begin at `offset`; `total` is the whole object's size where the server tells it.

    `validator` is what If-Range may say later to continue this very object.
    """

    chunks: Iterable[bytes]
    offset: int
    total: int | None
    validator: str | None


class TransientError(Exception):
    """An attempt failed in a way that another may not; `retry_after` is the server's wish, in seconds."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class StalePartError(TransientError):
    """The server cannot continue the part that is here."""


class AbsentError(Exception):
    """There is nothing at this URL."""


def public_url(url: str) -> str:
    """`url` as it may be shown and recorded: without user, password, query (it may hold a token) and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def html_error(url: str) -> FetchError:
    """A web page came where a file was expected."""
    return FetchError(
        f"{public_url(url)} answers with a web page, not with a file",
        hint="Use the direct link of the file. A login page of the network, or a proxy, can also answer in its place.",
    )


@contextmanager
def open_source(url: str, *, have: int = 0, validator: str | None = None) -> Iterator[Source]:
    """Open an https, http or file URL, from byte `have` on if the server still has the object with this `validator`.

    Raises TransientError, AbsentError, FetchError or InputError, the first also while the chunks are read.
    """
    scheme = urlsplit(url).scheme.lower()
    if scheme == "file":
        yield _open_file(url)
        return
    if scheme not in {"https", "http"}:
        raise InputError(
            f"{public_url(url)!r} is not a URL that can be fetched",
            hint="Use an https, http or file URL (file:///path/to/image).",
        )
    headers = {"Accept-Encoding": "identity", "User-Agent": "fountainkit-toolsmith-image"}
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            yield _open_response(url, response, have)
    except requests.RequestException as error:
        # `from None` because requests puts the whole URL, tokens included, into its messages.
        raise _classify(url, error) from None


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


def _open_response(url: str, response: requests.Response, have: int) -> Source:
    hops = [*response.history, response]
    if any(a.url.startswith("https:") and not b.url.startswith("https:") for a, b in pairwise(hops)):
        raise FetchError(
            f"{public_url(url)} redirects to an unencrypted address",
            hint="Use the address of a server that keeps to https.",
        )
    _require_success(url, response, have)
    if response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == "text/html":
        raise html_error(url)
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    offset = 0
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if not have or match is None or int(match[1]) != have:
            raise StalePartError("the server sent another part than the one asked for", retry_after=0)
        offset, total = have, None if match[2] == "*" else int(match[2])
    return Source(chunks=_body(response), offset=offset, total=total, validator=_validator(response))


def _require_success(url: str, response: requests.Response, have: int) -> None:
    status = response.status_code
    answer = f"the server answered {status} {response.reason or ''}".strip()
    if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        return
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        raise StalePartError("the server's file is not longer than the part that is here", retry_after=0)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TransientError(answer, retry_after=_retry_after(response.headers.get("Retry-After")))
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise AbsentError
    raise FetchError(f"{public_url(url)} cannot be fetched: {answer}", hint="Check the URL, and who may read it.")


def _retry_after(value: str | None) -> float | None:
    """Seconds; the header has either a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None


def _validator(response: requests.Response) -> str | None:
    """What If-Range may carry: a strong ETag, else the modification date (RFC 9110, 13.1.5)."""
    etag = response.headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _body(response: requests.Response) -> Iterator[bytes]:
    # Not iter_content: it would undo a Content-Encoding, and digests are of the bytes as they are published.
    try:
        yield from response.raw.stream(CHUNK_BYTES // 4, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise TransientError(_cause(error, "the connection broke off")) from None


def _classify(url: str, error: requests.RequestException) -> Exception:
    shown = public_url(url)
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return FetchError(
            f"{shown}: the server's certificate cannot be verified",
            hint="Check the machine's clock and CA certificates; behind a TLS proxy, set REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)):
        return TransientError(_cause(error, "no connection"))
    return FetchError(f"{shown} cannot be fetched ({type(error).__name__})", hint="Check the URL.")


def _cause(error: BaseException, otherwise: str) -> str:
    """The operating system's words for what went wrong, from deep within the libraries' wrapping."""
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        return "the server did not answer in time"
    current: BaseException | None = error
    words = otherwise
    while current:
        if isinstance(current, OSError) and current.strerror:
            words = current.strerror
        current = current.__cause__ or current.__context__
    return words
