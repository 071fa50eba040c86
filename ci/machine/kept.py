"""States of machines before their first login, kept by this user on this machine: which there are, and whether whole.

A state is a folder of its own, made aside and renamed once it is whole, under a name that no other state ever has: who
has opened one never meets half of another. It is the user's alone, and each of its files is what its record says. At
any doubt it is none: a machine can always be started anew.
"""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ci.host.errors import HostError
from ci.host.open_folder import OpenFolder
from ci.host.workspace import WORK_PREFIX, cache_folder
from ci.machine.spec import DISK, MEMORY

DEVICES, RECORD = "devices", "state.json"
FILES = (MEMORY, DISK, DEVICES)
# What a person chooses: for each choice there may be a state. In all else a state of other circumstances is of no use.
ASKED_FOR = ("image", "memory", "shares")
# Of a record, and of the state of QEMU's devices, which take half of one.
MAX_BYTES = 1 << 20
MAX_DEVICES = 1 << 24
UNUSED_SECONDS = 7 * 24 * 3600
BLOCK = 1 << 16
ZEROS = bytes(BLOCK)


class UnusableError(Exception):
    """Why a state, or a place for one, cannot be used; a machine is then started anew, and a person told of it."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A state whose folder is there; `digests` are what its files must be."""

    folder: Path
    digests: Mapping[str, str]

    def verify(self, name: str) -> bytes:
        """Raise UnusableError unless a file is what was kept; what it holds, where that is short."""
        try:
            with OpenFolder.at(self.folder) as folder, _own(folder, name) as file:
                if digest_of(file) != self.digests[name]:
                    raise UnusableError(f"its file {name} is not what was kept")
                file.seek(0)
                return file.read(MAX_DEVICES) if name == DEVICES else b""
        except (OSError, HostError) as error:
            raise UnusableError(f"its file {name} cannot be read: {error}") from error

    def remove(self) -> None:
        """Have it no more; a machine that was started from it goes on."""
        shutil.rmtree(self.folder, ignore_errors=True)


def states_folder() -> Path:
    """The folder of all states, made where it is not there; raises UnusableError where it is not this user's alone."""
    path = cache_folder() / "warm"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        with OpenFolder.at(path.parent) as parent, parent.folder(path.name) as folder:
            _require_private(os.fstat(folder.handle), path)
    except (OSError, HostError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UnusableError(f"{path} cannot be used: {why}") from error
    if not os.access(path, os.W_OK):
        raise UnusableError(f"{path} cannot be written to")
    return path


def find(folder: Path, facts: Mapping[str, str]) -> Kept | None:
    """The state that was kept in just these circumstances; None where there is none of this machine.

    Raises UnusableError where there is one which cannot be used, and says why. It is gone then.
    """
    why = ""
    for path in _newest_first(folder):
        try:
            record = _read_record(path)
            if any(record["facts"].get(name) != facts[name] for name in ASKED_FOR):
                continue
            if not (other := difference(record["facts"], facts)):
                os.utime(path)  # it was of use just now
                return Kept(path, record["digests"])
            why = f"it is of {other}"
        except UnusableError as error:
            why = str(error)
        shutil.rmtree(path, ignore_errors=True)
    if why:
        raise UnusableError(why)
    return None


def difference(kept: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In what the circumstances of a state differ from today's, in words; '' where in nothing."""
    return " and ".join(
        f"another {name}" for name in sorted(kept.keys() | now.keys()) if kept.get(name) != now.get(name)
    )


def keep(made: Path, folder: Path, facts: Mapping[str, str]) -> Kept:
    """Give the files of a state, in the folder `made`, their record and their name in `folder`.

    Those that were of no use for a week are removed.
    """
    digests = {}
    for name in FILES:
        (made / name).chmod(0o600)
        with (made / name).open("rb") as file:
            digests[name] = digest_of(file)
    record = {"facts": dict(facts), "digests": digests}
    with OpenFolder.at(made) as opened:
        opened.write_atomic(RECORD, json.dumps(record, indent=2) + "\n", mode=0o600)
    for path in _newest_first(folder):
        if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
    path = folder / secrets.token_hex(8)
    made.rename(path)
    return Kept(path, digests)


def digest_of(file: IO[bytes]) -> str:
    """A digest of what is in a file with holes, and of where: a hole is as good as zeros."""
    handle = file.fileno()
    size = os.fstat(handle).st_size
    digest = hashlib.sha256(size.to_bytes(8, "big"))
    offset = 0
    while block := os.pread(handle, BLOCK, offset):
        if block == ZEROS[: len(block)]:
            offset = max(offset + BLOCK, _data_after(handle, offset) // BLOCK * BLOCK)
        else:
            digest.update(offset.to_bytes(8, "big"))
            digest.update(block)
            offset += BLOCK
    return digest.hexdigest()


def _data_after(handle: int, offset: int) -> int:
    try:
        return os.lseek(handle, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole up to the end
            raise
        return os.fstat(handle).st_size + BLOCK


def _newest_first(folder: Path) -> list[Path]:
    """The folders of states. What lies there besides is none of ours."""
    found = {}
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run took it away
            if not path.name.startswith(WORK_PREFIX) and path.is_dir():
                found[path] = path.stat().st_mtime
    return sorted(found, key=lambda path: -found[path])


def _read_record(path: Path) -> dict[str, Any]:
    """What a state says of itself; raises UnusableError where that is not a record of a state."""
    try:
        with OpenFolder.at(path.parent) as parent, parent.folder(path.name) as folder:
            _require_private(os.fstat(folder.handle), path)
            with _own(folder, RECORD) as file:
                record = json.loads(file.read(MAX_BYTES))
        if record["facts"].keys() and record["digests"].keys() == set(FILES):
            return dict(record)
    except (OSError, HostError, ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise UnusableError(f"its record cannot be read: {error}") from error
    raise UnusableError("its record is not one of a state")


@contextlib.contextmanager
def _own(folder: OpenFolder, name: str) -> Iterator[IO[bytes]]:
    with folder.reading(name) as file:
        _require_private(os.fstat(file.fileno()), folder.path / name)
        yield file


def _require_private(found: os.stat_result, path: Path) -> None:
    if found.st_uid != os.geteuid():
        raise UnusableError(f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnusableError(f"{path} is not for its owner alone: mode {stat.S_IMODE(found.st_mode):o}")
