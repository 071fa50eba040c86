"""Where machines have their folders: nobody else may enter, and the names of sockets fit."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from ci.host.errors import HostError, InputError

OWN_NAME = "fountainkit-toolsmith-image"
DEFAULT = "default"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,23}")
# Of macOS's sun_path, which is shorter than Linux's, less a machine's name, a socket's, and what ssh adds to that.
PATH_BYTES = 104 - len(f"/{24 * 'x'}/control.{16 * 'x'}") - 1


def home() -> Path:
    """The folder of all machines of this user; raises HostError where it is not theirs alone."""
    folder = _home()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if not _is_private(folder):
        raise HostError(
            f"{folder} is not this user's alone", hint=f"Look where it comes from; `chmod 700 {folder}` if it is yours."
        )
    return folder


def folder_of(name: str) -> Path:
    """Where the machine `name` is, if there is one; raises InputError for what is no name."""
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name} is no name", hint="Up to 24 letters, digits, dashes and underscores.")
    return home() / name


def find(name: str) -> Path | None:
    """The same, where all is in order."""
    folder = _home()
    return folder / name if NAME.fullmatch(name) and _is_private(folder) else None


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder, removed at the end of the block."""
    import tempfile  # noqa: PLC0415 - `exec` does without, and it takes a while

    base = tempfile.gettempdir()
    short = len(os.fsencode(base)) < PATH_BYTES
    with tempfile.TemporaryDirectory(prefix="toolsmith-", dir=base if short else "/tmp") as name:  # noqa: S108
        yield Path(name)


def _home() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and _is_private(Path(runtime)):
        return Path(runtime) / OWN_NAME
    state = Path.home() / ".local" / "state" / "toolsmith-machines"
    if len(os.fsencode(state)) < PATH_BYTES:
        return state
    return Path("/tmp", f"toolsmith-{os.geteuid()}")  # noqa: S108 - made, and looked at, by us


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
