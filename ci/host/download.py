"""Downloads: resumable, verified while they stream, and whole or absent under their final name.

Runs on Python 3.10 too, for consumers of the image. Two downloads to one target at a time are the caller's to prevent.
"""

import errno
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import unquote

import tenacity

from ci.host.errors import FetchError, HostError, InputError, VerificationError
from ci.host.files import CHUNK_BYTES, sync_file, sync_folder, write_atomic
from ci.host.progress import Reporter
from ci.host.source import AbsentError, Source, StalePartError, TransientError, html_error, open_source, public_url
from ci.host.workspace import require_space

MAX_BYTES = 16 << 30
ATTEMPTS = 6
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A complete download: its digest, its size in bytes, and its URL without credentials."""

    sha256: str
    size: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    url: str
    target: Path
    sha256: str | None
    max_bytes: int
    reporter: Reporter
    attempts: int
    sleep: Callable[[float], None]

    @property
    def shown(self) -> str:
        return public_url(self.url)

    @property
    def title(self) -> str:
        return f"download {unquote(self.shown.rpartition('/')[2]) or self.shown}"

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def url_digest(self) -> str:
        """What stands for the URL on disk, where its tokens have no business."""
        return hashlib.sha256(self.url.encode()).hexdigest()

    @property
    def origin(self) -> Path:
        """The sidecar that says which object the part belongs to."""
        return self.target.with_name(f"{self.target.name}.part.json")

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.origin.unlink(missing_ok=True)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    reporter: Reporter,
    max_bytes: int | None = None,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> Downloaded:
    """Fetch an https, http or file URL to `target`, replacing what is there.

    An interrupted download leaves `<target>.part`, which the next one continues if the server still has the same
    object. Raises FetchError, VerificationError (the digest is not `sha256`), InputError (no such kind of URL) or
    HostError (no space).
    """
    job = _Job(
        url=url,
        target=target,
        sha256=None if sha256 is None else parse_sha256(sha256),
        max_bytes=max_bytes or MAX_BYTES,
        reporter=reporter,
        attempts=attempts,
        sleep=sleep,
    )
    try:
        return _run(job)
    except AbsentError:
        raise FetchError(
            f"{job.shown} does not exist",
            hint="Check the URL for typing errors; the publisher may have moved or removed the file.",
        ) from None


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
    job = _Job(
        url=url,
        target=target,
        sha256=None,
        max_bytes=max_bytes,
        reporter=reporter,
        attempts=attempts,
        sleep=sleep,
    )
    try:
        return _run(job)
    except AbsentError:
        return None


def parse_sha256(text: str) -> str:
    """A SHA-256 as 64 lower-case hex digits; raises InputError for anything else."""
    if re.fullmatch(r"[0-9a-fA-F]{64}", digest := text.strip()):
        return digest.lower()
    raise InputError(
        f"{text!r} is not a SHA-256 digest", hint="It has 64 hexadecimal digits, as `sha256sum FILE` prints them."
    )


def _run(job: _Job) -> Downloaded:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_after_attempt(job.attempts),
        wait=_wait,
        before_sleep=lambda state: _announce(job, state),
        sleep=job.sleep,
        reraise=True,
    )
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        inherited = job.part.exists()
        try:
            return retrying(_attempt, job)
        except VerificationError:
            if not inherited:
                raise
            # A power cut can leave a part with the right length and the wrong bytes.
            job.reporter.note(f"{job.shown}: trying once more, without the part that an earlier run left")
            return retrying(_attempt, job)
    except TransientError as failure:
        raise FetchError(
            f"{job.shown} could not be fetched: {failure.reason} (tried {job.attempts} times)",
            hint="Check the network and the proxy settings, then run it again: it continues where it stopped.",
        ) from None
    except OSError as error:
        raise _host_error(job, error) from error


def _wait(state: tenacity.RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, TransientError) and failure.retry_after is not None:
        return min(max(failure.retry_after, 0.0), LONGEST_RETRY_AFTER)
    return float(min(2 ** (state.attempt_number - 1), LONGEST_WAIT))


def _announce(job: _Job, state: tenacity.RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    job.reporter.note(
        f"{job.shown}: {failure}; trying again in {state.upcoming_sleep:.0f} s "
        f"(attempt {state.attempt_number + 1} of {job.attempts})"
    )


def _attempt(job: _Job) -> Downloaded:
    have, digest, validator = _resumable(job)
    if job.sha256 and digest.hexdigest() == job.sha256:
        return _finish(job, job.sha256, have)  # all was there, only the rename was missing
    try:
        with open_source(job.url, have=have, validator=validator) as source:
            return _receive(job, source, digest if source.offset else hashlib.sha256())
    except StalePartError:
        job.discard()
        raise


def _resumable(job: _Job) -> "tuple[int, hashlib._Hash, str | None]":
    """Bytes of the part that may be kept, their running digest, and what identifies the object they belong to."""
    digest = hashlib.sha256()
    try:
        origin = json.loads(job.origin.read_text())
        size = job.part.stat().st_size
    except (FileNotFoundError, ValueError):
        return 0, digest, None
    if not isinstance(origin, dict) or origin.get("url") != job.url_digest or not origin.get("validator"):
        return 0, digest, None
    with job.part.open("rb") as part:
        while block := part.read(CHUNK_BYTES):
            digest.update(block)
    return size, digest, str(origin["validator"])


def _receive(job: _Job, source: Source, digest: "hashlib._Hash") -> Downloaded:
    """Append `source` to the part, or start the part anew, then verify and rename it."""
    if source.total is not None:
        if source.total > job.max_bytes:
            raise _too_large(job)
        require_space(job.target.parent, source.total - source.offset)
    chunks = iter(source.chunks)
    first = next(chunks, b"")  # looked at before anything on disk is given up for it
    if not source.offset:
        if not first and not source.total:
            raise FetchError(f"{job.shown} is empty", hint="Check the URL; the publisher's upload may be incomplete.")
        if first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            raise html_error(job.url)
        _begin_part(job, source.validator)
    size = source.offset
    with job.reporter.transfer(job.title, source.total) as advance, job.part.open("ab") as part:
        advance(size)
        for chunk in chain([first], chunks):
            size += len(chunk)
            if size > job.max_bytes:
                job.discard()
                raise _too_large(job)
            part.write(chunk)
            digest.update(chunk)
            advance(len(chunk))
    if source.total is not None and size != source.total:
        raise TransientError(f"{size} bytes came, {source.total} were announced")
    return _verify(job, digest.hexdigest(), size)


def _begin_part(job: _Job, validator: str | None) -> None:
    """Empty the part before its sidecar speaks of another object: a kill in between leaves nothing to continue."""
    job.part.write_bytes(b"")
    write_atomic(job.origin, json.dumps({"url": job.url_digest, "validator": validator}))


def _verify(job: _Job, actual: str, size: int) -> Downloaded:
    if job.sha256 and actual != job.sha256:
        job.discard()
        raise VerificationError(
            f"{job.shown} is not the file that was expected: its SHA-256 is {actual}, expected {job.sha256}",
            hint="The publisher may have replaced the file under the same name (take the digest from its SHA256SUMS), "
            "or it was altered on the way (do not use it). The download was deleted.",
        )
    return _finish(job, actual, size)


def _finish(job: _Job, sha256: str, size: int) -> Downloaded:
    sync_file(job.part)
    job.part.replace(job.target)
    job.origin.unlink(missing_ok=True)
    sync_folder(job.target.parent)
    return Downloaded(sha256=sha256, size=size, url=job.shown)


def _too_large(job: _Job) -> FetchError:
    return FetchError(f"{job.shown} is larger than the {job.max_bytes} bytes allowed for it", hint="Check the URL.")


def _host_error(job: _Job, error: OSError) -> HostError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        job.discard()  # a full disk troubles others more than a second download troubles us
        return HostError(
            f"no space left in {job.target.parent} for {job.shown}",
            hint="Free some space, or choose another folder with TOOLSMITH_CACHE, then run it again.",
        )
    return HostError(
        f"{error.filename or job.target} cannot be used: {error.strerror}",
        hint="Check the folder's owner and permissions.",
    )
