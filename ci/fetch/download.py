"""Downloads: resumable, verified while they stream, and whole or absent under their final name.

What came otherwise than asked for, or promised, is asked for once more: from its first byte, past all caches. The
publisher is blamed only then.

Two downloads to one target at a time are the caller's to prevent.
"""

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from ci.fetch.open_url import ANONYMOUS, Client, open_source
from ci.fetch.partial_file import PartialFile
from ci.fetch.retry import Persistence
from ci.fetch.source import AbsentError, DoubtError, Source, TransientError, collected, html_error, public_url
from ci.host.errors import FetchError, HostError, InputError, VerificationError
from ci.host.open_folder import OpenFolder
from ci.host.progress import Reporter
from ci.host.workspace import require_space_in

T = TypeVar("T")

MAX_BYTES = 16 << 30
# An attempt that brought as much as this, or a hundredth of the whole, was not in vain: the count starts again.
WORTHWHILE_BYTES = 8 << 20
FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A complete download: its digest, its size in bytes, and its URL without credentials."""

    sha256: str
    size: int
    url: str


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    reporter: Reporter,
    size: int | None = None,
    max_bytes: int = MAX_BYTES,
    client: Client = ANONYMOUS,
    folder: OpenFolder | None = None,
) -> Downloaded:
    """Fetch an https, http or file URL to `target`, replacing what is there; in `folder` where that is open already.

    An interrupted download leaves `<target>.part`, which the next one continues if the server still has the same
    object. Raises FetchError, VerificationError (it is not of the `sha256` or of the `size` that is expected),
    InputError (no such kind of URL), AccessError (the token does not do) or HostError (no space).
    """
    digest = None if sha256 is None else parse_sha256(sha256)
    return _required(url, _Download(url, target, digest, size, max_bytes, reporter, client, folder).run())


def download_if_present(
    url: str, target: Path, *, reporter: Reporter, max_bytes: int, client: Client = ANONYMOUS
) -> Downloaded | None:
    """Like `download`, but None where there is nothing at `url`; any other trouble is still an error."""
    return _Download(url, target, None, None, max_bytes, reporter, client).run()


def read_url(url: str, *, max_bytes: int, reporter: Reporter, client: Client = ANONYMOUS) -> bytes:
    """The bytes of something small; raises what `download` raises."""
    return _required(url, read_url_if_present(url, max_bytes=max_bytes, reporter=reporter, client=client))


def read_url_if_present(url: str, *, max_bytes: int, reporter: Reporter, client: Client = ANONYMOUS) -> bytes | None:
    """Like `read_url`, but None where there is nothing at `url`; any other trouble is still an error."""

    def attempt(asked: Client, _: str) -> bytes:
        with open_source(url, client=asked) as source:
            _require_uncoded(url, source)
            data = None if (source.total or 0) > max_bytes else collected(source.chunks, max_bytes)
            if data is None:
                raise _too_large(public_url(url), max_bytes)
            _require_whole(len(data), source.total)
            return data

    try:
        return _ask(url, client, reporter, attempt)
    except AbsentError:
        return None


def past_caches(client: Client, reporter: Reporter, attempt: Callable[[Client], T]) -> T:
    """What `attempt` makes of what it fetches; where that is VerificationError, what it makes of it past all caches."""
    try:
        return attempt(client)
    except VerificationError as failure:
        reporter.note(f"{failure.message}; once more, past all caches")
        return attempt(replace(client, fresh=True))


def announced_size(url: str, *, reporter: Reporter, client: Client = ANONYMOUS) -> int | None:
    """The bytes that a server says are at `url`, of which none is read; None where it does not say.

    Raises AbsentError where there is nothing, and otherwise what `download` raises.
    """

    def attempt(asked: Client, _: str) -> int | None:
        with open_source(url, client=asked) as source:
            _require_uncoded(url, source)
            return source.total

    return _ask(url, client, reporter, attempt)


def parse_sha256(text: str) -> str:
    """A SHA-256 as 64 lower-case hex digits; raises InputError for anything else."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", digest := text.strip()):
        return digest.lower()
    raise InputError(
        f"{text!r} is not a SHA-256 digest", hint="It has 64 hexadecimal digits, as `sha256sum FILE` prints them."
    )


@dataclass(slots=True)
class _Download:
    """A download under way."""

    url: str
    target: Path
    sha256: str | None
    size: int | None
    max_bytes: int
    reporter: Reporter
    client: Client
    folder: OpenFolder | None = None
    part: PartialFile = field(init=False)
    total: int | None = field(init=False)
    furthest: int = field(init=False, default=0)
    coding: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.total = self.size

    @property
    def shown(self) -> str:
        return public_url(self.url)

    def run(self) -> Downloaded | None:
        """Try until it is here; None where there is nothing."""
        try:
            with (
                nullcontext(self.folder) if self.folder else OpenFolder.at(self.target.parent, create=True) as folder,
                PartialFile(folder, self.target.name, self.url) as self.part,
            ):
                return self._run()
        except AbsentError:
            return None
        except OSError as error:
            raise self._host_error(error) from error

    def _run(self) -> Downloaded:
        try:
            self.part.load(self.max_bytes if self.size is None else self.size)
            self.furthest = self.part.size
            require_space_in(self.part.folder, (self.size or 0) - self.part.size)
            return _ask(self.url, self.client, self.reporter, self._attempt, self._moved)
        except OSError as error:
            if error.errno in FULL:
                self.part.discard()  # a full disk troubles others more than a second download troubles us
            raise

    def _moved(self) -> bool:
        """True where the last attempt came far enough beyond all before it to be encouraged by."""
        moved, self.furthest = self.part.size - self.furthest, max(self.part.size, self.furthest)
        return moved >= min(WORTHWHILE_BYTES, max((self.total or 0) // 100, 1))

    def _attempt(self, client: Client, before: str) -> Downloaded:
        """One attempt, which continues the part; with a doubt `before`, from the first byte."""
        part = self.part
        try:
            if not self.sha256 or part.sha256 != self.sha256:  # else all was there, only the rename was missing
                have = part.size if part.validator and not before else 0
                with open_source(self.url, have=have, validator=part.validator, client=client) as source:
                    self._receive(source, before)
            if self.sha256 and part.sha256 != self.sha256:
                raise self._doubt(f"has SHA-256 {part.sha256}", self.sha256, before)
        except DoubtError:
            part.discard()
            self.furthest = 0
            raise
        part.finish()
        return Downloaded(sha256=part.sha256, size=part.size, url=self.shown)

    def _doubt(self, what: str, expected: object, before: str = "") -> DoubtError:
        if self.coding:
            return _coded(self.url, self.coding)
        reason = f"what came {what}"
        twice = " It came twice." if before == reason else f" Before that: {before}." if before else ""
        final = VerificationError(
            f"{self.shown} is not the file that was expected: it {what}, expected {expected}.{twice}",
            hint="The publisher may have replaced the file under the same name (take the digest from its SHA256SUMS), "
            "or it was altered on the way (do not use it). Nothing was kept.",
        )
        return DoubtError(reason, final)

    def _receive(self, source: Source, before: str) -> None:
        """Append `source` to the part, or start the part anew."""
        # A server may say so of bytes that are as they were published, which only their digest can tell.
        self.coding = source.coding
        if not (before and self.sha256):
            _require_uncoded(self.url, source)
        self._require_expected_size(source, before)
        chunks = iter(source.chunks)
        first = next(chunks, b"")  # looked at before anything on disk is given up for it
        if not source.offset:
            self._require_file(first, source.total)
            self.part.begin(source.validator)
        if source.total is not None or not source.offset:
            self.total = self.size if source.total is None else source.total
        with self.reporter.transfer(f"download {unquote(Path(self.shown).name)}", self.total) as advance:
            advance(self.part.size)
            self.part.append(self._bounded(chain([first], chunks), advance, before))
        _require_whole(self.part.size, self.total)

    def _require_expected_size(self, source: Source, before: str) -> None:
        """Refuse what cannot be the object, or cannot be kept, before its first byte."""
        if source.total is None:
            return
        same = source.offset or (self.part.size and self.part.validator == source.validator)
        expected = self.total if self.size is None and same else self.size
        if expected not in {None, source.total}:
            raise self._doubt(f"has {source.total} bytes", expected, before)
        if source.total > self.max_bytes:
            raise _too_large(self.shown, self.max_bytes)
        require_space_in(self.part.folder, source.total - source.offset)

    def _require_file(self, first: bytes, total: int | None) -> None:
        if not first and not total:
            if total is None:
                # Headers that break off look just like this: http.client takes them for complete.
                raise TransientError("the answer ended before its first byte")
            raise FetchError(f"{self.shown} is empty", hint="Check the URL; the publisher's upload may be incomplete.")
        if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise html_error(self.url)

    def _bounded(self, chunks: Iterable[bytes], advance: Callable[[int], None], before: str) -> Iterator[bytes]:
        size = self.part.size
        for chunk in chunks:
            size += len(chunk)
            if size > self.max_bytes:
                self.part.discard()
                raise _too_large(self.shown, self.max_bytes)
            if self.total is not None and size > self.total:
                raise self._doubt(f"has more than {self.total} bytes", "not more", before)
            yield chunk
            advance(len(chunk))

    def _host_error(self, error: OSError) -> HostError:
        if error.errno in FULL:
            return HostError(
                f"no space left in {self.target.parent} for {self.shown}",
                hint="Free some space, or take a folder on another disk (--cache, --workspace, TOOLSMITH_CACHE), then "
                "run it again.",
            )
        return HostError(
            f"{error.filename or self.target} cannot be used: {error.strerror}",
            hint="Check the folder's owner and permissions; if it is gone, run it again.",
        )


def _ask(
    url: str,
    client: Client,
    reporter: Reporter,
    attempt: Callable[[Client, str], T],
    moved: Callable[[], bool] = lambda: False,
) -> T:
    """What `attempt` brings; where that is in doubt, once more, and it is told why."""
    what, persistence = f"download of {public_url(url)}", Persistence(client.patience, reporter, FetchError)

    def ask(asked: Client, before: str) -> T:
        return persistence.read(what, lambda: attempt(asked, before), moved)

    try:
        try:
            return ask(client, "")
        except DoubtError as doubt:
            if url[:5].lower() == "file:":
                raise
            reporter.note(f"{public_url(url)}: {doubt.reason}; once more, from its first byte and past all caches")
            return ask(replace(client, fresh=True), doubt.reason)
    except DoubtError as doubt:
        raise doubt.final or FetchError(
            f"{public_url(url)} cannot be fetched: {doubt.reason} (asked twice)",
            hint="The server is at fault, or something on the way answers in its place.",
        ) from None


def _require_uncoded(url: str, source: Source) -> None:
    if source.coding:
        raise _coded(url, source.coding)


def _coded(url: str, coding: str) -> DoubtError:
    final = FetchError(
        f"{public_url(url)} comes compressed ({coding}), though it was asked for as it is",
        hint="The server, or a proxy on the way, ignores `Accept-Encoding: identity`. Try another network, or fetch "
        "it with another program.",
    )
    return DoubtError(f"it came compressed ({coding})", final)


def _require_whole(size: int, total: int | None) -> None:
    if total is not None and size != total:
        raise TransientError(f"{size} bytes came, {total} were announced")


def _required(url: str, found: T | None) -> T:
    if found is not None:
        return found
    raise FetchError(
        f"{public_url(url)} does not exist",
        hint="Check the URL for typing errors; the publisher may have moved or removed the file. "
        "A private release's files need GITHUB_TOKEN.",
    )


def _too_large(shown: str, limit: int) -> FetchError:
    return FetchError(f"{shown} is larger than the {limit} bytes allowed for it", hint="Check the URL.")
