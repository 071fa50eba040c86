"""A folder that is held open, and what lies in it: no link leads out of it, whoever changes what meanwhile.

A workspace may be a stranger's: a clone, or a folder that others may write to. A path is looked up anew at every use,
and each of its names may be a link by then; a handle stays with its folder. So whatever writes below somebody's
workspace goes from handle to handle, name by name. Files to be written are made new, or are regular ones without
another name; nothing is truncated, and no pipe or device is waited for. Only what every Unix has is used. Runs on
Python 3.10 too.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ci.host.errors import HostError

UNFINISHED = ".unfinished"

_NEVER_WAIT = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK
# What a link, or another thing that is no folder, is answered with by Linux, macOS and FreeBSD.
_OTHER_KIND = {errno.ELOOP, errno.ENOTDIR, errno.EMLINK, errno.EISDIR, errno.ENXIO}
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class OpenFolder:
    """A folder's handle; `path` is where it was found, for messages. What is not in it raises FileNotFoundError.

    What is of another kind than was asked for raises HostError, and says which.
    """

    def __init__(self, handle: int, path: Path) -> None:
        self.handle = handle
        self.path = path

    @classmethod
    def at(cls, path: Path, *, create: bool = False) -> "OpenFolder":
        """The folder that a person named: links on the way to it are theirs."""
        if create and not os.path.lexists(path):
            path.mkdir(parents=True, exist_ok=True)
        try:
            return cls(os.open(path, _FOLDER), path)
        except FileNotFoundError as error:
            if path.is_symlink():
                error.strerror = f"it is a link to {path.readlink()}, which is not there; is its disk mounted?"
            raise

    def __enter__(self) -> "OpenFolder":  # noqa: PYI034 - Python 3.10 has no Self
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)

    def folder(self, name: str, *, create: bool = False) -> "OpenFolder":
        """The folder `name` in it."""
        with self._named(name, "a folder"):
            try:
                handle = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.handle)
            except FileNotFoundError:
                if not create:
                    raise
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=self.handle)
                handle = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.handle)
        return OpenFolder(handle, self.path / name)

    def state(self, name: str) -> os.stat_result | None:
        """What `name` is, a link being one; None where there is nothing."""
        with self._named(name):
            try:
                return os.stat(name, dir_fd=self.handle, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def names(self) -> list[str]:
        """What is in it."""
        with self._named():
            return sorted(os.listdir(self.handle))  # noqa: PTH208 - of a handle

    def reading(self, name: str) -> IO[bytes]:
        """The file `name`, to be read. It may have other names, too: reading harms none of them."""
        return self._file(name, os.O_RDONLY, "rb")

    def writing(self, name: str, *, new: bool = False) -> IO[bytes]:
        """The file `name`, to be appended to; with `new`, one that was not there before.

        Raises HostError for one that has another name elsewhere.
        """
        with self._named(name):
            file = self._file(name, os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if new else 0), "ab")
            if os.fstat(file.fileno()).st_nlink > 1:
                file.close()
                raise _in_the_way(self.path / name, "it is a hard link, the same file has another name elsewhere")
            return file

    def lock_file(self, name: str) -> IO[bytes]:
        """The file `name`, made where it is not there."""
        with suppress(FileExistsError):
            return self.writing(name, new=True)
        return self.writing(name)

    def write_atomic(self, name: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file so that nobody ever sees a part of it under its final name. `mode` is its permissions."""
        temporary = f".{name}.{secrets.token_hex(8)}{UNFINISHED}"
        with self._named(name):
            try:
                with self.writing(temporary, new=True) as file:
                    file.write(content.encode() if isinstance(content, str) else content)
                    file.flush()
                    os.fchmod(file.fileno(), mode)
                    os.fsync(file.fileno())
                self.rename(temporary, name)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=self.handle)
                raise
        self.sync()

    def sweep_unfinished(self, name: str) -> None:
        """Remove what a killed `write_atomic` of `name` left; only where no other one can be at work."""
        for other in self.names():
            if other.startswith(f".{name}.") and other.endswith(UNFINISHED):
                with suppress(HostError):  # for a folder, which no such write leaves
                    self.remove(other)

    def rename(self, name: str, new: str) -> None:
        """Give it another name, replacing what has that."""
        with self._named(new):
            os.rename(name, new, src_dir_fd=self.handle, dst_dir_fd=self.handle)

    def remove(self, name: str) -> None:
        """Remove the name, whatever it leads to, if it is there; raises HostError for a folder's."""
        with self._named(name), suppress(FileNotFoundError):
            found = os.stat(name, dir_fd=self.handle, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                raise _in_the_way(self.path / name, "it is a folder, where a file is needed")
            os.unlink(name, dir_fd=self.handle)

    def remove_folder(self, name: str) -> None:
        """Remove an empty folder."""
        with self._named(name):
            os.rmdir(name, dir_fd=self.handle)

    def sync(self) -> None:
        """Make the names in it survive a power cut."""
        with self._named():
            os.fsync(self.handle)

    def _file(self, name: str, flags: int, mode: str) -> IO[Any]:
        with self._named(name, "a file"):
            found = self.state(name)  # before it is opened, which some devices take for an order
            if found is None or stat.S_ISREG(found.st_mode):
                handle = os.open(name, flags | _NEVER_WAIT, 0o666, dir_fd=self.handle)
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    return os.fdopen(handle, mode)
                os.close(handle)
            elif flags & os.O_EXCL:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    @contextmanager
    def _named(self, name: str = "", needed: str = "") -> Iterator[None]:
        """Errors tell the whole path, and for what is of another kind than `needed`, what it is."""
        try:
            yield
        except OSError as error:
            path = self.path / name
            error.filename, error.filename2 = os.fspath(path), None
            if not needed or error.errno not in _OTHER_KIND:
                raise
            found = self.state(name)
            if found is None:
                raise
            raise _in_the_way(
                path, f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'of a strange kind')}, where {needed} is needed"
            ) from None


def _in_the_way(path: Path, found: str) -> HostError:
    return HostError(f"{path} is in the way: {found}", hint="See where it came from, move it away, and run it again.")
