"""What a download reads from: bytes on their way, and failures sorted into passing, absent and final ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from ci.host.errors import FetchError, ToolsmithError
from ci.text.visible import visible

LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Bytes on their way. They begin at `offset`; `total` is the whole object's size where the server tells it.

    `validator` is what If-Range may say later to continue this very object. `coding` is how the server says that they
    are compressed, though it was asked not to.
    """

    chunks: Iterable[bytes]
    offset: int
    total: int | None
    validator: str | None
    coding: str | None = None


class TransientError(Exception):
    """An attempt failed in a way that another may not; `retry_after` is the server's wish, in seconds.

    `final` is what it is where it happens twice.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, final: Exception | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.final = final


class DoubtError(Exception):
    """What came cannot be what was asked for, for a reason on the way perhaps: it is to be asked for plainly.

    `final` is what it is where that brings the same.
    """

    def __init__(self, reason: str, final: ToolsmithError | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


class AbsentError(Exception):
    """There is nothing at this URL."""


def printable(text: str) -> str:
    """What a server said, as it may be shown: one line of no great length."""
    return visible(text[:LONGEST_TEXT], "")[:LONGEST_TEXT]


def collected(chunks: Iterable[bytes], limit: int) -> bytes | None:
    """The bytes of something small; None where there are more than `limit`, of which no more are read."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > limit:
            return None
    return bytes(data)


def public_url(url: str) -> str:
    """`url` as it may be shown and recorded: without user, password, query (it may hold a token) and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as an IPv6 address that does not end
        return "a malformed URL"
    return printable(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")))


def html_error(url: str) -> FetchError:
    """A web page came where a file was expected."""
    return FetchError(
        f"{public_url(url)} answers with a web page, not with a file",
        hint="Use the direct link of the file. A login page of the network, or a proxy, can also answer in its place.",
    )
