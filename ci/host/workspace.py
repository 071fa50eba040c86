"""Where intermediate files live: a private folder per run, and the cache shared by all runs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any

from ci.host.errors import HostError

CACHE_NAME = "fountainkit-toolsmith-image"
WORK_PREFIX = ".work-"
LOCK_NAME = "lock"


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
        lock = (folder / LOCK_NAME).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{WORK_PREFIX}*/"):
        with suppress(OSError), (folder / LOCK_NAME).open("w") as lock:
            if try_lock(lock):  # else its run is alive
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def exclusive(path: Path, waiting: Callable[[], AbstractContextManager[object]] = nullcontext) -> Iterator[None]:
    """Hold the lock file `path`; waits while another run holds it, for as long as that lives, within `waiting`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        if not try_lock(lock):
            with waiting():
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def try_lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed, or this process ends; False where somebody else holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def require_space(folder: Path, needed: int) -> None:
    """Raise HostError unless `folder`'s file system has `needed` bytes free."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise HostError(
            f"{folder} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB are needed",
            hint="Free some space, or take a folder on another disk (--output, --workspace, TOOLSMITH_CACHE).",
        )
