"""Requests that end: every wait for a server is bounded, and a token goes to one server only."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import requests
import urllib3.exceptions
from requests.auth import AuthBase

from ci.fetch.retry import Patience
from ci.fetch.source import AbsentError, TransientError, public_url
from ci.host.errors import FetchError, InputError

CHUNK_BYTES = 1 << 18
CONNECT_SECONDS = 15.0
MAX_REDIRECTS = 10
USER_AGENT = "fountainkit-toolsmith-image"
DEFAULT_PORTS = {"https": 443, "http": 80}


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an https or http URL (RFC 6454): the server that a token is for. Raises InputError."""
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
    return scheme, host, port


class Bearer(AuthBase):
    """A token for the server of `url`. Being requests' `auth`, it also keeps a .netrc from replacing it."""

    def __init__(self, token: str, url: str) -> None:
        self.origin = origin(url)
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class PatientSession(requests.Session):
    """A session for bytes as they were published. It takes proxies from the environment, as curl does."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self.patience = patience
        self.headers.update({"Accept-Encoding": "identity", "User-Agent": USER_AGENT})

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Leaves all redirects to `get`: requests would stumble over a Location that is no address."""


def get(
    session: PatientSession, url: str, headers: Mapping[str, str], bearer: Bearer | None = None
) -> requests.Response:
    """The answer at the end of all redirects, its body unread; the caller closes it.

    Raises TransientError, FetchError, or InputError for a URL that is none of ours.
    """
    at = url
    for _ in range(MAX_REDIRECTS + 1):
        ask = partial(
            session.get,
            at,
            headers=dict(headers),
            auth=bearer if bearer and origin(at) == bearer.origin else None,
            stream=True,
            timeout=(CONNECT_SECONDS, session.patience.timeout),
            allow_redirects=False,
        )
        try:
            response = _in_time(ask, session.patience.timeout)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            # `from None` because requests puts the whole URL, tokens included, into its messages.
            raise _classify(url, error) from None
        if not response.is_redirect:
            return response
        response.close()
        at = _redirected(url, at, response.headers["Location"])
    raise FetchError(
        f"{public_url(url)} redirects in a circle, or more than {MAX_REDIRECTS} times", hint="Check the URL."
    )


def _in_time(ask: Callable[[], requests.Response], seconds: float) -> requests.Response:
    """What `ask` returns; raises TransientError where it takes longer.

    A socket's own timeout is for each byte anew, and the look-up of a name has none.
    """
    result: Future[requests.Response] = Future()

    def work() -> None:
        try:
            result.set_result(ask())
        except BaseException as failure:  # noqa: BLE001 - it is raised again below
            result.set_exception(failure)

    threading.Thread(target=work, name="request", daemon=True).start()
    if not wait([result], seconds).done:
        result.add_done_callback(_close)
        raise TransientError("the server did not answer in time")
    return result.result()


def _close(late: "Future[requests.Response]") -> None:
    if late.exception() is None:
        late.result().close()


def _redirected(url: str, at: str, location: str) -> str:
    try:
        # As requests reads it: headers are Latin-1 to http.client, and UTF-8 to those who send them.
        target = urljoin(at, location.encode("latin-1").decode("utf-8"))
        scheme, _, _ = origin(target)
    except (ValueError, InputError):
        raise FetchError(
            f"{public_url(url)} redirects to something that is no web address", hint="Check the URL."
        ) from None
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


def body(response: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it was sent, in pieces as they come; raises TransientError where it breaks off or crawls."""
    waited, received = 0.0, 0
    try:
        while True:
            before = time.monotonic()
            # Neither iter_content, which would undo a Content-Encoding (digests are of the bytes as published), nor
            # read, which waits for a full piece: a server that sends a byte now and then would never be caught.
            chunk = response.raw.read1(CHUNK_BYTES, decode_content=False)
            waited += time.monotonic() - before
            if not chunk:
                return
            received += len(chunk)
            if waited >= patience.timeout:
                if received < patience.crawl * waited:
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


def _classify(url: str, error: Exception) -> Exception:
    shown = public_url(url)
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return FetchError(
            f"{shown}: the server's certificate cannot be verified",
            hint="Check the machine's clock and CA certificates; behind a TLS proxy, set REQUESTS_CA_BUNDLE.",
        )
    if isinstance(error, (requests.exceptions.InvalidSchema, requests.exceptions.InvalidProxyURL)):
        # The URL's own scheme was looked at before.
        return FetchError(
            f"{shown} cannot be fetched through the proxy that the environment names",
            hint="https_proxy, http_proxy and all_proxy take http://HOST:PORT; for SOCKS, PySocks is missing here. "
            "no_proxy lists servers that need none.",
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
