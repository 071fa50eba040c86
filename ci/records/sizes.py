"""The folder sizes, `<stem>.sizes.tsv`: what the folders of an image take on its disk, as `du` counts it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ci.host.errors import InputError

HEADER = "folder\tkib"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSize:
    """A folder with all that is below it, on the same file system."""

    path: PurePosixPath
    kib: int


def parse_du(output: str) -> tuple[FolderSize, ...]:
    """The folders in the output of `du -xk`, sorted by path.

    The guest's names are its own affair: one that is not printable is left out, and counts in its parent only.
    """
    found = {}
    for line in output.split("\n"):
        size, _, path = line.partition("\t")
        if size.isdecimal() and path.startswith("/") and path.isprintable():
            found[path] = FolderSize(path=PurePosixPath(path), kib=int(size))
    return tuple(sorted(found.values(), key=lambda folder: folder.path))


def to_tsv(folders: Iterable[FolderSize]) -> str:
    """Tab-separated values with a header line."""
    return "\n".join([HEADER, *(f"{folder.path}\t{folder.kib}" for folder in folders)]) + "\n"


def parse_sizes(data: bytes, where: str) -> tuple[FolderSize, ...]:
    """The folders that `to_tsv` wrote; raises InputError, which names the file as `where`."""
    try:
        header, *rows = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise _malformed(where, 1, f"it is not text: {error}") from error
    if header != HEADER:
        raise _malformed(where, 1, f"the first line is not {HEADER!r}")
    if not rows or rows[-1]:
        raise _malformed(where, len(rows) + 1, "the last line has no end: the file may have been cut off")
    found: dict[PurePosixPath, FolderSize] = {}
    for number, row in enumerate(rows[:-1], start=2):
        path, _, size = row.rpartition("\t")
        if not (path.startswith("/") and path.isprintable() and size.isascii() and size.isdecimal() and len(size) < 13):
            raise _malformed(where, number, f"{row[:80]!r} is no folder with its size")
        folder = FolderSize(path=PurePosixPath(path), kib=int(size))
        if found.setdefault(folder.path, folder) is not folder:
            raise _malformed(where, number, f"{path} was listed before")
    return tuple(found.values())


def own_sizes(folders: Sequence[FolderSize]) -> tuple[FolderSize, ...]:
    """Each folder without those below it that are listed too, the largest first: together they are the whole."""
    own = {folder.path: folder.kib for folder in folders}
    for folder in folders:
        path, parent = folder.path, folder.path.parent
        if parent in own and parent != path:
            own[parent] -= folder.kib
    # du counts a file with several names once, in the folder it comes to first; a part is never less than nothing.
    sizes = (FolderSize(path=path, kib=max(kib, 0)) for path, kib in own.items())
    return tuple(sorted(sizes, key=lambda folder: (-folder.kib, folder.path)))


def _malformed(where: str, line: int, problem: str) -> InputError:
    return InputError(
        f"{where} is not a list of folder sizes: line {line}: {problem}",
        hint="The build writes this file and nobody edits it; fetch or build it again.",
    )
