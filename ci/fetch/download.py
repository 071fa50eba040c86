"""Downloads: resumable, verified while they stream, and whole or absent under their final name.

Two downloads to one target at a time are the caller's to prevent.
"""

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from ci.fetch.open_url import ANONYMOUS, Client, open_source
from ci.fetch.partial_file import PartialFile
from ci.fetch.retry import Persistence
from ci.fetch.source import AbsentError, Source, StalePartError, TransientError, collected, html_error, public_url
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

    def attempt() -> bytes:
        with open_source(url, client=client) as source:
            data = None if (source.total or 0) > max_bytes else collected(source.chunks, max_bytes)
            if data is None:
                raise _too_large(public_url(url), max_bytes)
            _require_whole(len(data), source.total)
            return data

    try:
        return _ask(url, client, reporter, attempt)
    except AbsentError:
        return None


def announced_size(url: str, *, reporter: Reporter, client: Client = ANONYMOUS) -> int | None:
    """The bytes that a server says are at `url`, of which none is read; None where it does not say.

    Raises AbsentError where there is nothing, and otherwise what `download` raises.
    """

    def attempt() -> int | None:
        with open_source(url, client=client) as source:
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

    def _attempt(self) -> Downloaded:
        part = self.part
        if not self.sha256 or part.sha256 != self.sha256:  # else all was there, only the rename was missing
            have = part.size if part.validator else 0
            try:
                with open_source(self.url, have=have, validator=part.validator, client=self.client) as source:
                    self._receive(source)
            except StalePartError:
                part.discard()
                raise
        if self.sha256 and part.sha256 != self.sha256:
            return self._refuse()
        part.finish()
        return Downloaded(sha256=part.sha256, size=part.size, url=self.shown)

    def _refuse(self) -> Downloaded:
        actual, inherited = self.part.sha256, self.part.inherited
        self.part.discard()
        if inherited:  # a power cut can leave the right length and the wrong bytes
            self.reporter.note(f"{self.shown}: once more, without the part that an earlier run left")
            return self._attempt()
        raise VerificationError(
            f"{self.shown} is not the file that was expected: its SHA-256 is {actual}, expected {self.sha256}",
            hint="The publisher may have replaced the file under the same name (take the digest from its SHA256SUMS), "
            "or it was altered on the way (do not use it). The download was deleted.",
        )

    def _receive(self, source: Source) -> None:
        """Append `source` to the part, or start the part anew."""
        self._require_expected_size(source)
        chunks = iter(source.chunks)
        first = next(chunks, b"")  # looked at before anything on disk is given up for it
        if not source.offset:
            self._require_file(first, source.total)
            self.part.begin(source.validator)
        self.total = self.size if source.total is None else source.total
        with self.reporter.transfer(f"download {unquote(Path(self.shown).name)}", self.total) as advance:
            advance(self.part.size)
            self.part.append(self._bounded(chain([first], chunks), advance))
        _require_whole(self.part.size, self.total)

    def _require_expected_size(self, source: Source) -> None:
        """Refuse what cannot be the object, or cannot be kept, before its first byte."""
        if source.total is None:
            return
        if self.size is not None and source.total != self.size:
            self.part.discard()
            raise VerificationError(
                f"{self.shown} is not the file that was expected: it has {source.total} bytes, expected {self.size}",
                hint="The publisher may have replaced the file under the same name, or something on the way answers "
                "in its place. Nothing was kept.",
            )
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

    def _bounded(self, chunks: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
        size, limit = self.part.size, self.max_bytes if self.size is None else self.size
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                self.part.discard()
                raise _too_large(self.shown, limit)
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
    url: str, client: Client, reporter: Reporter, attempt: Callable[[], T], moved: Callable[[], bool] = lambda: False
) -> T:
    return Persistence(client.patience, reporter, FetchError).read(f"download of {public_url(url)}", attempt, moved)


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
