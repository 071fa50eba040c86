"""Requests that end: the one way in which anything is asked of a server by HTTP.

Every wait is bounded as a whole, not byte by byte. No credentials are used but the caller's and those in an address
itself: never a .netrc's, and on a redirect only where it stays on the token's server. The environment says which
proxies and which certificates there are, and nothing else.
"""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from ci.fetch.deadlines import Adapter, Pace, in_time
from ci.fetch.faults import FAILURES, cause, classified, is_proxy, proxy_error
from ci.fetch.limits import passes, retry_after, wait_seconds
from ci.fetch.places import require_no_way_in
from ci.fetch.retry import Patience
from ci.fetch.source import AbsentError, TransientError, printable, public_url
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
        url.encode()
    except (ValueError, KeyError):
        scheme, host, port = "", "", 0
    if not host:
        raise InputError(
            f"{public_url(url)!r} is not a URL that can be fetched",
            hint="Use an https, http or file URL (file:///path/to/image).",
        )
    return scheme, host, port


class Bearer(AuthBase):
    """A token for the server of `url`."""

    def __init__(self, token: str, url: str) -> None:
        self.origin = origin(url)
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _from_address(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """The user and password that are in an address, if any.

    Where a session has any `auth`, requests leaves ~/.netrc alone:
    https://requests.readthedocs.io/en/latest/user/authentication/#netrc-authentication
    """
    user, password = requests.utils.get_auth_from_url(request.url or "")
    if user or password:
        HTTPBasicAuth(user, password)(request)
    return request


class PatientSession(requests.Session):
    """A session for bytes as they were published."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self.patience = patience
        self.auth = _from_address
        for scheme in DEFAULT_PORTS:
            self.mount(f"{scheme}://", Adapter())
        self.headers.update({"Accept-Encoding": "identity", "User-Agent": USER_AGENT})

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Leaves all redirects to `ask`: requests would stumble over a Location that is no address."""

    def merge_environment_settings(self, url: Any, *settings: Any) -> Any:  # noqa: ANN401 - the base class's
        """The environment's proxies and certificates; raises FetchError where they cannot be used."""
        merged = super().merge_environment_settings(url, *settings)
        proxy = requests.utils.select_proxy(url, merged["proxies"])
        if proxy is not None and not is_proxy(proxy):
            raise proxy_error(url, proxy, "cannot be used")
        if isinstance(merged["verify"], str) and not Path(merged["verify"]).exists():
            raise FetchError(
                f"{merged['verify']}, which the environment names for certificates, does not exist",
                hint="REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE) is a file of certificates in PEM; without it those of "
                "the certifi package are used.",
            )
        return merged


def ask(
    session: PatientSession,
    verb: str,
    url: str,
    headers: Mapping[str, str],
    *,
    bearer: Bearer | None = None,
    data: str | None = None,
    abroad: bool = True,
) -> requests.Response:
    """The answer at the end of all redirects, which repeat the verb, its body unread; the caller closes it.

    A redirect that leaves the server is an error if not `abroad`. Raises TransientError, FetchError, or InputError for
    a URL that is none of ours.
    """
    end = time.monotonic() + session.patience.timeout
    before = at = url
    for _ in range(MAX_REDIRECTS + 1):
        auth = bearer if bearer and origin(at) == bearer.origin else None
        response = send(session, verb, at, headers, auth=auth, data=data, before=before, seconds=end - time.monotonic())
        if not response.is_redirect:
            return response
        response.close()
        before, at = at, _redirected(url, at, response.headers["Location"])
        if not abroad and origin(at) != origin(url):
            raise FetchError(
                f"{public_url(url)} redirects to another server: {public_url(at)}",
                hint="A token goes to one server only. Check GITHUB_API_URL and GITHUB_SERVER_URL, and whether a proxy "
                "or a login page of the network answers in GitHub's place.",
            )
    raise FetchError(
        f"{public_url(url)} redirects in a circle, or more than {MAX_REDIRECTS} times", hint="Check the URL."
    )


def send(
    session: PatientSession,
    verb: str,
    url: str,
    headers: Mapping[str, str],
    *,
    auth: Bearer | None = None,
    data: Any = None,  # noqa: ANN401 - whatever requests takes
    before: str | None = None,
    seconds: float,
) -> requests.Response:
    """The answer to one request, its body unread; raises TransientError also where it takes longer than `seconds`.

    `before` is the URL that led to this one.
    """
    request = partial(
        session.request,
        verb,
        url,
        headers=dict(headers),
        auth=auth,
        data=data,
        stream=True,
        # The first also bounds each write of a body.
        timeout=(CONNECT_SECONDS if data is None else session.patience.timeout, max(seconds, 0.001)),
        allow_redirects=False,
    )

    def call() -> requests.Response:
        require_no_way_in(urlsplit(before or url).hostname or "", urlsplit(url).hostname or "")
        return request()

    try:
        return in_time(call, seconds)
    except FAILURES as error:
        # `from None` because requests puts the whole URL, tokens included, into its messages.
        raise classified(url, error) from None


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
    answer = f"the server answered {status} {printable(response.reason or '')}".strip()
    if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        return
    wait = wait_seconds(status, response.headers)
    if passes(status) or wait is not None:
        raise TransientError(answer, retry_after=retry_after(response.headers.get("Retry-After")) or wait)
    if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise AbsentError
    failure = FetchError(f"{public_url(url)} cannot be fetched: {answer}", hint="Check the URL, and who may read it.")
    if refused_elsewhere(url, response):
        raise TransientError(answer, final=failure)
    raise failure


def refused_elsewhere(url: str, response: requests.Response) -> bool:
    """Whether a store refuses an address that another server signed for it: the next address may do."""
    return response.status_code == HTTPStatus.FORBIDDEN and origin(response.url) != origin(url)


def body(response: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The body as it was sent, in pieces as they come; raises TransientError where it breaks off or crawls."""
    waited, received = 0.0, 0
    pace = Pace(response, patience.timeout)
    try:
        while True:
            before = time.monotonic()
            pace.wait(patience.timeout)
            try:
                # Neither iter_content, which would undo a Content-Encoding (digests are of the bytes as published), nor
                # read, which waits for a full piece: a server that sends a byte now and then would never be caught.
                chunk = response.raw.read1(CHUNK_BYTES, decode_content=False)
            except FAILURES as error:
                if not pace.over:
                    raise TransientError(cause(error, "the connection broke off")) from None
                chunk = b""
            pace.rest()
            waited += time.monotonic() - before
            received += len(chunk)
            if pace.over or (chunk and waited >= patience.timeout and received < patience.crawl * waited):
                raise TransientError(f"only {received} bytes came in {waited:.0f} s")
            if waited >= patience.timeout:
                waited, received = 0.0, 0
            if not chunk:
                return
            yield chunk
    finally:
        pace.end()
