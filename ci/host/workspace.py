"""Where intermediate files live: a private folder per run, and the cache shared by all runs."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from ci.host.errors import HostError
from ci.host.open_folder import OpenFolder

CACHE_NAME = "fountainkit-toolsmith-image"
WORK_PREFIX = ".work-"
LOCK_NAME = "lock"
IN_USE = ".in-use"

# NFS, for one, answers EBADF for a folder. https://man7.org/linux/man-pages/man2/flock.2.html
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}


def cache_folder() -> Path:
    """`TOOLSMITH_CACHE`, or our folder in the user's cache (XDG Base Directory)."""
    if chosen := os.environ.get("TOOLSMITH_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / CACHE_NAME


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """A folder inside `parent` for one run, removed at its end.

    A run that was killed cannot remove its own. Each folder is therefore locked by its run, and the next run removes
    those that nobody holds. It is inside `parent` so that results can be renamed into place.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with exclusive(parent / f"{WORK_PREFIX}{LOCK_NAME}"):  # else a sweep could take a folder not yet locked
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=WORK_PREFIX))
        lock = (folder / LOCK_NAME).open("x")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _sweep(parent: Path) -> None:
    with OpenFolder.at(parent) as opened:
        for name in opened.names():
            if not name.startswith(WORK_PREFIX):
                continue
            with suppress(OSError, HostError), opened.folder(name) as folder, folder.lock_file(LOCK_NAME) as lock:
                if try_lock(lock):  # else its run is alive
                    shutil.rmtree(parent / name, ignore_errors=True)


@contextmanager
def in_use(cache: Path, *, alone: bool = False) -> Iterator[bool]:
    """Share the cache with other builds while the block lasts, so that nobody empties it; or `alone`, have it alone.

    Yields False where others use it and this was to be alone.
    """
    with OpenFolder.at(cache, create=True) as folder, folder.lock_file(IN_USE) as lock:
        if alone:
            yield try_lock(lock)
        else:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield True


@contextmanager
def exclusive(path: Path, waiting: Callable[[], AbstractContextManager[object]] = nullcontext) -> Iterator[None]:
    """Hold the lock file `path`; waits while another run holds it, for as long as that lives, within `waiting`."""
    with OpenFolder.at(path.parent, create=True) as folder, folder.lock_file(path.name) as lock:
        if not wait_for_lock(lock.fileno(), waiting):
            raise HostError(
                f"{path} cannot be locked: its file system has no locks",
                hint="Take a folder on another disk (--output, TOOLSMITH_CACHE).",
            )
        yield


def wait_for_lock(handle: int, waiting: Callable[[], AbstractContextManager[object]]) -> bool:
    """Lock an open file or folder as `try_lock` does, within `waiting` while another run has it.

    False where its file system has no locks.
    """
    try:
        if not try_lock(handle):
            with waiting():
                fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def try_lock(file: int | IO[Any]) -> bool:
    """Lock an open file until it is closed, or this process ends; False where somebody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def require_space(path: Path, needed: int) -> None:
    """Raise HostError unless the file system of the folder `path` has `needed` bytes free; makes the folder."""
    with OpenFolder.at(path, create=True) as folder:
        require_space_in(folder, needed)


def require_space_in(folder: OpenFolder, needed: int) -> None:
    """Raise HostError unless `folder`'s file system has `needed` bytes free."""
    free = shutil.disk_usage(folder.handle).free
    if free < needed:
        raise HostError(
            f"{folder.path} has {free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} MB are needed",
            hint="Free some space, or take a folder on another disk (--output, --cache, --workspace, TOOLSMITH_CACHE).",
        )
