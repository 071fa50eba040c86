"""Downloads: resumable, verified while they stream, and whole or absent under their final name.

Runs on Python 3.10 too, for consumers of the image. Two downloads to one target at a time are the caller's to prevent.
"""

import errno
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

from ci.fetch.open_url import ANONYMOUS, Client, open_source
from ci.fetch.part import Part
from ci.fetch.ranges import SINGLE
from ci.fetch.retry import ATTEMPTS, Patience, Persistence
from ci.fetch.source import (
    AbsentError,
    CrowdedError,
    Source,
    StalePartError,
    TransientError,
    html_error,
    public_url,
)
from ci.host.errors import FetchError, HostError, InputError, VerificationError
from ci.host.progress import Reporter
from ci.host.workspace import require_space

MAX_BYTES = 16 << 30
# An attempt that brought as much as this, or a hundredth of the whole, was not in vain: the count starts again.
WORTHWHILE_BYTES = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A complete download: its digest, its size in bytes, and its URL without credentials."""

    sha256: str
    size: int
    url: str


class _Job:
    """A download under way; what it learns on the way is in `part` and `client`."""

    def __init__(
        self,
        url: str,
        target: Path,
        *,
        sha256: str | None,
        size: int | None,
        max_bytes: int,
        reporter: Reporter,
        client: Client,
    ) -> None:
        self.url = url
        self.part = Part(target, url)
        self.folder = target.parent
        self.sha256 = sha256
        self.size = size
        self.total = size
        self.max_bytes = max_bytes
        self.reporter = reporter
        self.client = client

    @property
    def shown(self) -> str:
        return public_url(self.url)

    @property
    def title(self) -> str:
        return f"download {unquote(self.shown.rpartition('/')[2]) or self.shown}"


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    reporter: Reporter,
    size: int | None = None,
    max_bytes: int | None = None,
    client: Client = ANONYMOUS,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> Downloaded:
    """Fetch an https, http or file URL to `target`, replacing what is there.

    An interrupted download leaves `<target>.part`, which the next one continues if the server still has the same
    object. Raises FetchError, VerificationError (it is not of the `sha256` or of the `size` that is expected),
    InputError (no such kind of URL), AccessError (the token does not do) or HostError (no space).
    """
    try:
        return _run(
            _Job(
                url,
                target,
                sha256=None if sha256 is None else parse_sha256(sha256),
                size=size,
                max_bytes=max_bytes or MAX_BYTES,
                reporter=reporter,
                client=client,
            ),
            Patience(attempts=attempts, sleep=sleep),
        )
    except AbsentError:
        raise _absent(url) from None


def download_if_present(
    url: str,
    target: Path,
    *,
    reporter: Reporter,
    max_bytes: int,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> Downloaded | None:
    """Like `download`, but None where there is nothing at `url`; any other trouble is still an error."""
    job = _Job(url, target, sha256=None, size=None, max_bytes=max_bytes, reporter=reporter, client=ANONYMOUS)
    try:
        return _run(job, Patience(attempts=attempts, sleep=sleep))
    except AbsentError:
        return None


def read_url(
    url: str,
    *,
    max_bytes: int,
    reporter: Reporter,
    client: Client = ANONYMOUS,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> bytes:
    """The bytes of something small; raises what `download` raises."""
    data = read_url_if_present(
        url, max_bytes=max_bytes, reporter=reporter, client=client, attempts=attempts, sleep=sleep
    )
    if data is None:
        raise _absent(url)
    return data


def read_url_if_present(
    url: str,
    *,
    max_bytes: int,
    reporter: Reporter,
    client: Client = ANONYMOUS,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> bytes | None:
    """Like `read_url`, but None where there is nothing at `url`; any other trouble is still an error."""

    def attempt() -> bytes:
        with open_source(url, client=client) as source:
            if source.total is not None and source.total > max_bytes:
                raise _too_large(public_url(url), max_bytes)
            data = bytearray()
            for chunk in source.chunks:
                data += chunk
                if len(data) > max_bytes:
                    raise _too_large(public_url(url), max_bytes)
            _require_whole(len(data), source.total)
            return bytes(data)

    patience = Patience(attempts=attempts, sleep=sleep)
    try:
        return _persistence(patience, reporter).read(f"download of {public_url(url)}", attempt)
    except AbsentError:
        return None


def announced_size(
    url: str, *, reporter: Reporter, attempts: int = ATTEMPTS, sleep: Callable[[float], None] = time.sleep
) -> int | None:
    """The bytes that a server says are at `url`, of which none is read; None where it does not say.

    Raises AbsentError where there is nothing, and otherwise what `download` raises.
    """

    def attempt() -> int | None:
        with open_source(url, client=Client(lanes=SINGLE)) as source:
            return source.total

    patience = Patience(attempts=attempts, sleep=sleep)
    return _persistence(patience, reporter).read(f"download of {public_url(url)}", attempt)


def parse_sha256(text: str) -> str:
    """A SHA-256 as 64 lower-case hex digits; raises InputError for anything else."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", digest := text.strip()):
        return digest.lower()
    raise InputError(
        f"{text!r} is not a SHA-256 digest", hint="It has 64 hexadecimal digits, as `sha256sum FILE` prints them."
    )


def _run(job: _Job, patience: Patience) -> Downloaded:
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        job.part.load()
        persistence = _persistence(patience, job.reporter)
        return persistence.read(f"download of {job.shown}", lambda: _attempt(job), _Progress(job))
    except OSError as error:
        raise _host_error(job, error) from error


def _persistence(patience: Patience, reporter: Reporter) -> Persistence:
    return Persistence(patience, reporter, FetchError)


class _Progress:
    """Tells whether the last attempt came far enough beyond all before it to be encouraged by."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._best = job.part.size

    def __call__(self) -> bool:
        size, total = self._job.part.size, self._job.total or 0
        moved, self._best = size - self._best, max(size, self._best)
        return moved >= min(WORTHWHILE_BYTES, max(total // 100, 1))


def _attempt(job: _Job) -> Downloaded:
    part = job.part
    if job.sha256 and part.sha256 == job.sha256:
        return _finish(job)  # all was there, only the rename was missing
    have = part.size if part.validator else 0
    try:
        with open_source(job.url, have=have, validator=part.validator, client=job.client) as source:
            return _receive(job, source)
    except StalePartError:
        part.discard()
        raise
    except CrowdedError:
        job.client = replace(job.client, lanes=SINGLE)
        raise
    except _DamagedPartError:
        job.reporter.note(f"{job.shown}: once more, without the part that an earlier run left")
        return _attempt(job)


class _DamagedPartError(Exception):
    """The part that an earlier run left was not what it seemed; it is gone now."""


def _receive(job: _Job, source: Source) -> Downloaded:
    """Append `source` to the part, or start the part anew, then verify and rename it."""
    part = job.part
    _require_expected_size(job, source)
    chunks = iter(source.chunks)
    first = next(chunks, b"")  # looked at before anything on disk is given up for it
    if not source.offset:
        _require_file(job, first, source.total)
        part.begin(source.validator)
    job.total = job.size if source.total is None else source.total
    with job.reporter.transfer(job.title, job.total) as advance:
        advance(part.size)
        part.append(_watched(job, chain([first], chunks), advance))
    _require_whole(part.size, job.total)
    return _verify(job)


def _require_expected_size(job: _Job, source: Source) -> None:
    """Refuse what cannot be the object, or cannot be kept, before its first byte."""
    if source.total is None:
        return
    if job.size is not None and source.total != job.size:
        job.part.discard()
        raise VerificationError(
            f"{job.shown} is not the file that was expected: it has {source.total} bytes, expected {job.size}",
            hint="The publisher may have replaced the file under the same name, or something on the way answers in "
            "its place. Nothing was kept.",
        )
    if source.total > job.max_bytes:
        raise _too_large(job.shown, job.max_bytes)
    require_space(job.folder, source.total - source.offset)


def _require_file(job: _Job, first: bytes, total: int | None) -> None:
    if not first and not total:
        if total is None:
            # Headers that break off look just like this: http.client takes them for complete.
            raise TransientError("the answer ended before its first byte")
        raise FetchError(f"{job.shown} is empty", hint="Check the URL; the publisher's upload may be incomplete.")
    if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise html_error(job.url)


def _watched(job: _Job, chunks: Iterable[bytes], advance: Callable[[int], None]) -> Iterator[bytes]:
    size, limit = job.part.size, job.max_bytes if job.size is None else job.size
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            job.part.discard()
            raise _too_large(job.shown, limit)
        yield chunk
        advance(len(chunk))


def _require_whole(size: int, total: int | None) -> None:
    if total is not None and size != total:
        raise TransientError(f"{size} bytes came, {total} were announced")


def _verify(job: _Job) -> Downloaded:
    actual, inherited = job.part.sha256, job.part.inherited
    if job.sha256 and actual != job.sha256:
        job.part.discard()
        if inherited:  # a power cut can leave the right length and the wrong bytes
            raise _DamagedPartError
        raise VerificationError(
            f"{job.shown} is not the file that was expected: its SHA-256 is {actual}, expected {job.sha256}",
            hint="The publisher may have replaced the file under the same name (take the digest from its SHA256SUMS), "
            "or it was altered on the way (do not use it). The download was deleted.",
        )
    return _finish(job)


def _finish(job: _Job) -> Downloaded:
    job.part.finish()
    return Downloaded(sha256=job.part.sha256, size=job.part.size, url=job.shown)


def _absent(url: str) -> FetchError:
    return FetchError(
        f"{public_url(url)} does not exist",
        hint="Check the URL for typing errors; the publisher may have moved or removed the file. "
        "A private release's files need GITHUB_TOKEN.",
    )


def _too_large(shown: str, limit: int) -> FetchError:
    return FetchError(f"{shown} is larger than the {limit} bytes allowed for it", hint="Check the URL.")


def _host_error(job: _Job, error: OSError) -> HostError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        job.part.discard()  # a full disk troubles others more than a second download troubles us
        return HostError(
            f"no space left in {job.folder} for {job.shown}",
            hint="Free some space, or take a folder on another disk (--workspace, TOOLSMITH_CACHE), then run it again.",
        )
    return HostError(
        f"{error.filename or job.part.target} cannot be used: {error.strerror}",
        hint="Check the folder's owner and permissions.",
    )
