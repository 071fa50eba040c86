"""One request to GitHub and its answer, by our own session: bounded in time and size, and never led elsewhere.

PyGithub gives each request its token, its encoding and its pause; sent by its own connections, an answer would have no
deadline, and one that is no JSON, or a redirect to another host, would end in a traceback:
https://github.com/PyGithub/PyGithub/blob/v2.10.0/github/Requester.py
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import requests
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from ci.fetch.session import PatientSession, ask, body, refused_elsewhere
from ci.fetch.source import TransientError, collected
from ci.github.failures import from_status
from ci.host.errors import FetchError, RemoteError

AnswerT = TypeVar("AnswerT")

# A page of a hundred releases may have a hundred texts of 125,000 characters.
LARGEST_ANSWER = 64 << 20
RUN_AGAIN = "Run it again: it continues where it stopped."


class ApiCall:
    """What PyGithub takes for a connection. It is told the status only; the answer is in `response` and `content`."""

    def __init__(self, session: PatientSession, api_url: str) -> None:
        self._session = session
        self._server = "{0.scheme}://{0.netloc}".format(urlsplit(api_url))
        self.host = self._server
        self.response = requests.Response()
        self.content = b""

    def request(self, verb: str, path: str, data: str | None, headers: Mapping[str, str], *_: object) -> None:
        """Take the request; it is sent by `getresponse`."""
        self._request = (verb, path, data, headers)

    def getresponse(self) -> "ApiCall":
        """Send it. Raises TransientError or FetchError."""
        verb, path, data, headers = self._request
        url = self._server + path
        with ask(self._session, verb, url, headers, data=data, abroad=False) as self.response:
            self.content = received(self.response, self._session)
        if self.response.status_code == 202:  # PyGithub would ask again, for ever
            raise TransientError(f"GitHub is not ready to answer {verb} {urlsplit(url).path}")
        return self

    @property
    def status(self) -> int:
        return self.response.status_code

    def getheaders(self) -> list[tuple[str, str]]:
        """None: PyGithub would stumble over numbers that are none."""
        return []

    def read(self) -> str:
        return ""


@contextmanager
def errors_of_github() -> Iterator[None]:
    """Turn an error of the way into one of GitHub's, which has an exit code of its own."""
    try:
        yield
    except FetchError as error:
        raise RemoteError(error.message, hint=f"{error.hint} {RUN_AGAIN}") from None


def received(response: requests.Response, session: PatientSession) -> bytes:
    """The body of an answer; raises FetchError where it is larger than any that GitHub gives."""
    content = collected(body(response, session.patience), LARGEST_ANSWER)
    if content is None:
        raise FetchError(f"GitHub's answer is larger than {LARGEST_ANSWER} bytes", hint="Look for a proxy on the way.")
    return content


def raise_for(response: requests.Response, content: bytes, request: str, url: str) -> None:
    """Return where it is an answer; raises what ci/github/failures.py makes of any other status."""
    status = response.status_code
    if 200 <= status < 300:
        return
    if status < 400:
        raise RemoteError(
            f"GitHub answers {request} with status {status}, and nothing to follow",
            hint=f"Check GITHUB_API_URL and GITHUB_SERVER_URL, and look for a proxy on the way. {RUN_AGAIN}",
        )
    try:
        data = from_json(content)
    except ValueError:
        data = None
    failure = from_status(status, response.headers, data, request)
    if refused_elsewhere(url, response) and not isinstance(failure, TransientError):
        raise TransientError(f"status {status} at {request}", final=failure)
    raise failure


def parsed(what: str, kind: type[AnswerT], content: bytes) -> AnswerT:
    """An answer's JSON as a type; raises TransientError where it is none: the next one may be GitHub's."""
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        if content.lstrip()[:1] == b"<":
            raise TransientError(f"a web page came in place of GitHub's answer when {what}") from None
        raise TransientError(f"the answer makes no sense ({error.error_count()} faults) when {what}") from None


def next_page(response: requests.Response) -> dict[str, str] | None:
    """What the next page of a list is asked with; None where this is the last.

    https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
    """
    for link in requests.utils.parse_header_links(response.headers.get("Link", "")):
        if link.get("rel") == "next":
            try:
                return dict(parse_qsl(urlsplit(link["url"]).query))
            except ValueError:
                raise TransientError("the address of the list's next page makes no sense") from None
    return None
