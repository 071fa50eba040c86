"""The folder sizes, `<stem>.sizes.tsv`: what the folders of an image take on its disk, as `du` counts it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ci.records.tsv import parse_tsv

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
    return parse_tsv(data, HEADER, _parse_row, what="a list of folder sizes", where=where)


def _parse_row(row: str) -> tuple[str, FolderSize]:
    path, _, size = row.rpartition("\t")
    if not (path.startswith("/") and path.isprintable() and size.isascii() and size.isdecimal() and len(size) < 13):
        raise ValueError(f"{row[:80]!r} is no folder with its size")
    folder = FolderSize(path=PurePosixPath(path), kib=int(size))
    return str(folder.path), folder


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
