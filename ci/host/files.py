"""Files that are whole or absent: bounded reads, atomic writes, digests, and results that appear together.

Runs on Python 3.10 too, for consumers of the image.
"""

import errno
import hashlib
import os
import signal
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO

from ci.host.errors import InputError
from ci.host.open_folder import OpenFolder

CHUNK_BYTES = 1 << 20


def sha256_file(path: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file in lower-case hex. `advance` is told the bytes read since it was last called."""
    with path.open("rb") as file:
        return sha256_of(file, advance)


def sha256_of(file: IO[bytes], advance: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of what is left in an open file; otherwise as `sha256_file`."""
    digest = hashlib.sha256()
    while block := file.read(CHUNK_BYTES):
        digest.update(block)
        advance(len(block))
    return digest.hexdigest()


def open_file(path: Path) -> IO[bytes]:
    """A file, to be read; raises OSError, also for a folder, a device, or a pipe, which is not waited for."""
    if stat.S_ISREG(path.stat().st_mode):  # before it is opened, which some devices take for an order
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # still: it may have been replaced meanwhile
            return file
        file.close()
    raise OSError(errno.EINVAL, "it is not a file", os.fspath(path))


def read_bounded(path: Path, limit: int, *, hint: str = "") -> bytes:
    """A file's bytes; raises InputError where it cannot be read, or has more than `limit` of them."""
    try:
        with open_file(path) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    if len(data) > limit:
        raise InputError(f"{path} has more than {limit} bytes", hint=hint)
    return data


def write_atomic(path: Path, content: str | bytes, *, mode: int = 0o644) -> None:
    """Write a file so that nobody ever sees a part of it under its final name. `mode` is its permissions."""
    with OpenFolder.at(path.parent, create=True) as folder:
        folder.write_atomic(path.name, content, mode=mode)


def sync(path: Path) -> None:
    """Make a file that another program wrote, or the names in a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish_together(staged: Sequence[Path], folder: Path, *, supersedes: Sequence[Path], last: str) -> None:
    """Move finished files into `folder`, so that the one named `last` is there only when all the others are.

    What is in `supersedes` is removed first, `last` before the rest: at no moment does an old file stand beside a
    new one under `last`'s claim. `staged` must be on `folder`'s file system.
    """
    for path in staged:
        sync(path)
    with delayed_signals():
        for path in sorted(supersedes, key=lambda path: path.name != last):
            path.unlink(missing_ok=True)
        for path in sorted(staged, key=lambda path: path.name == last):
            path.rename(folder / path.name)
    sync(folder)


def interrupting() -> tuple[signal.Signals, ...]:
    """What ends us: SIGINT, SIGTERM, and SIGHUP, of a terminal that was closed, unless nohup(1) has us ignore it."""
    hangup = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
    return signal.SIGINT, signal.SIGTERM, *hangup


@contextmanager
def signals_handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have `handler` told of `interrupting` signals until the block is done."""
    before = {signum: signal.signal(signum, handler) for signum in interrupting()}
    try:
        yield
    finally:
        for signum, earlier in before.items():
            signal.signal(signum, earlier)


@contextmanager
def delayed_signals() -> Iterator[None]:
    """Hold `interrupting` signals back until the block is done, then deliver them.

    A mask would not do: another thread of ours could still take the signal.
    """
    arrived: list[int] = []
    try:
        with signals_handled(lambda signum, _frame: arrived.append(signum)):
            yield
    finally:
        for signum in arrived:
            signal.raise_signal(signum)
