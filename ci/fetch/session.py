"""Requests that end: every wait for a server is bounded, and a token goes to one server only.

Runs on Python 3.10 too, for consumers of the image.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from ci.fetch.source import AbsentError, TransientError, public_url
from ci.host.errors import FetchError, InputError

CHUNK_BYTES = 1 << 18
MAX_REDIRECTS = 10
USER_AGENT = "fountainkit-toolsmith-image"
DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to wait for a server, in seconds: for a connection, for any byte, for all headers.

    `slowest` is the rate, in bytes per second over a whole `window`, below which an answer counts as hanging.
    """

    connect: float = 15.0
    silence: float = 60.0
    headers: float = 60.0
    window: float = 60.0
    slowest: float = 4096.0


@dataclass(frozen=True, slots=True)
class Origin:
    """A server, in the sense of RFC 6454: what a token is for."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The server of an https or http URL; raises InputError where it has none."""
        try:
            parts = urlsplit(url)
            scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
            port = parts.port or DEFAULT_PORTS[scheme]
        except (ValueError, KeyError):
            scheme, host, port = "", "", 0
        if not host:
            raise InputError(
                f"{public_url(url)!r} is not a URL that can be fetched",
                hint="Use an https, http or file URL (file:///path/to/image).",
            )
        return cls(scheme, host, port)

    @property
    def keeps_secrets(self) -> bool:
        """True where a token may be sent: by https, or to this machine."""
        return self.scheme == "https" or self.host in {"localhost", "127.0.0.1", "::1"}


class Bearer(AuthBase):
    """A token for one server. Being requests' `auth`, it also keeps a .netrc from replacing it."""

    def __init__(self, token: str, origin: Origin) -> None:
        self.origin = origin
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@contextmanager
def new_session(limits: Limits) -> Iterator[requests.Session]:
    """A session whose servers must answer within the limits. It takes proxies from the environment, as curl does."""
    with requests.Session() as session:
        session.headers.update({"Accept-Encoding": "identity", "User-Agent": USER_AGENT})
        for scheme in ("https://", "http://"):
            session.mount(scheme, _BoundedAdapter(limits))
        yield session


def get(
    session: requests.Session,
    url: str,
    limits: Limits,
    *,
    headers: Mapping[str, str] | None = None,
    bearer: Bearer | None = None,
) -> requests.Response:
    """The answer at the end of all redirects, its body unread; the caller closes it.

    Raises TransientError, FetchError, or InputError for a URL that is none of ours.
    """
    at = url
    for _ in range(MAX_REDIRECTS + 1):
        auth = bearer if bearer and Origin.of(at) == bearer.origin else None
        try:
            response = session.get(
                at,
                headers=dict(headers or {}),
                auth=auth,
                stream=True,
                timeout=(limits.connect, limits.silence),
                allow_redirects=False,
            )
            location = session.get_redirect_target(response)
        except requests.RequestException as error:
            # `from None` because requests puts the whole URL, tokens included, into its messages.
            raise _classify(url, error) from None
        if location is None:
            return response
        response.close()
        at = _redirected(url, at, location)
    raise FetchError(
        f"{public_url(url)} redirects in a circle, or more than {MAX_REDIRECTS} times", hint="Check the URL."
    )


def _redirected(url: str, at: str, location: str) -> str:
    target = urljoin(at, location)
    scheme = urlsplit(target).scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise FetchError(f"{public_url(url)} redirects to something that is no web address", hint="Check the URL.")
    if scheme == "http" and urlsplit(at).scheme.lower() == "https":
        raise FetchError(
            f"{public_url(url)} redirects to an unencrypted address",
            hint="Use the address of a server that keeps to https.",
        )
    return target


def require_success(url: str, response: requests.Response) -> None:
    """Return where a body of `url` has come; raises TransientError, AbsentError or FetchError otherwise."""
    status = response.status_code
    answer = f"the server answered {status} {response.reason or ''}".strip()
    if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        return
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise TransientError(answer, retry_after=retry_after(response.headers.get("Retry-After")))
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise AbsentError
    raise FetchError(f"{public_url(url)} cannot be fetched: {answer}", hint="Check the URL, and who may read it.")


def body(
    response: requests.Response, limits: Limits, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[bytes]:
    """The body as it was sent, in pieces as they come; raises TransientError where it breaks off or crawls."""
    waited, received = 0.0, 0
    try:
        while True:
            before = clock()
            # Neither iter_content, which would undo a Content-Encoding (digests are of the bytes as published), nor
            # read, which waits for a full piece: a server that sends a byte now and then would never be caught.
            chunk = response.raw.read1(CHUNK_BYTES, decode_content=False)
            waited += clock() - before
            if not chunk:
                return
            received += len(chunk)
            if waited >= limits.window:
                if received < limits.slowest * waited:
                    raise TransientError(f"only {received} bytes came in {waited:.0f} s")
                waited, received = 0.0, 0
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise TransientError(_cause(error, "the connection broke off")) from None


def retry_after(value: str | None) -> float | None:
    """Seconds; the header has either a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None


class _BoundedAdapter(HTTPAdapter):
    def __init__(self, limits: Limits) -> None:
        self._seconds = limits.headers
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed on as it is
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        kind = _BoundedHTTPS if isinstance(pool, urllib3.connectionpool.HTTPSConnectionPool) else _BoundedHTTP
        pool.ConnectionCls = partial(kind, header_seconds=self._seconds)  # pools only ever call it
        return pool


class _BoundedHTTP(urllib3.connection.HTTPConnection):
    def __init__(self, *args: Any, header_seconds: float, **kwargs: Any) -> None:  # noqa: ANN401 - passed on as it is
        self._header_seconds = header_seconds
        super().__init__(*args, **kwargs)

    def getresponse(self) -> urllib3.response.HTTPResponse:  # type: ignore[override]  # urllib3's is another one, too
        with _deadline(self.sock, self._header_seconds):
            return super().getresponse()


class _BoundedHTTPS(urllib3.connection.HTTPSConnection):
    def __init__(self, *args: Any, header_seconds: float, **kwargs: Any) -> None:  # noqa: ANN401 - passed on as it is
        self._header_seconds = header_seconds
        super().__init__(*args, **kwargs)

    def getresponse(self) -> urllib3.response.HTTPResponse:  # type: ignore[override]  # urllib3's is another one, too
        with _deadline(self.sock, self._header_seconds):
            return super().getresponse()


@contextmanager
def _deadline(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Raise TimeoutError where the block, which reads from `sock`, takes longer.

    A socket's own timeout is for each byte anew, and http.client takes headers that break off for complete ones.
    """
    expired = threading.Event()

    def cut() -> None:
        expired.set()
        with suppress(OSError):  # it ended by itself just now
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not expired.is_set():
            raise
    finally:
        timer.cancel()
    if expired.is_set():
        raise TimeoutError("the headers did not come in time")


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
