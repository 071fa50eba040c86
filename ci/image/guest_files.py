"""The files of build/guest as a tar archive whose owners, modes and times do not depend on who checked them out."""

import io
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path

# sudo refuses rules that others may read or write; git keeps no such mode.
MODES = {"etc/sudoers": 0o440, "etc/sudoers.d": 0o440}


def write_tar(target: Path, folder: Path, extra: Mapping[str, bytes], *, mtime: int) -> None:
    """Pack all files under `folder` at their paths, and `extra` (path to content), owned by root.

    `mtime` is in seconds since the epoch.
    """
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    files = {name: (_mode(name, path), path.read_bytes()) for name, path in found.items()}
    files |= {name: (0o644, content) for name, content in extra.items()}
    folders = {str(parent) for name in files for parent in Path(name).parents if parent != Path()}
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(folders):
            archive.addfile(_entry(name, 0o755, mtime, kind=tarfile.DIRTYPE))
        for name, (mode, content) in sorted(files.items()):
            archive.addfile(_entry(name, mode, mtime, size=len(content)), io.BytesIO(content))


def _mode(name: str, path: Path) -> int:
    for place in (name, str(Path(name).parent)):
        if place in MODES:
            return MODES[place]
    return 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644


def _entry(name: str, mode: int, mtime: int, *, size: int = 0, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime, entry.size = kind, mode, mtime, size
    entry.uname = entry.gname = "root"
    return entry
