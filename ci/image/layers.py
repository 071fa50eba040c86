"""Layers: the base with its packages, kept for builds in which only other things change.

A layer is a QCOW2 over the base image, known by the digest of everything that decides it. It is not trusted further:
its own digest is compared before each use, and one that is damaged or stands on another file is forgotten.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from ci.host.errors import ToolError
from ci.host.files import sha256_file, sync_file, write_atomic
from ci.host.workspace import exclusive
from ci.image import qcow2

KEEP = 3  # layers of some 700 MB each
SUFFIX = ".qcow2"


def layer_key(inputs: Mapping[str, object], code: Sequence[Path]) -> str:
    """What a layer is known by: `inputs` as JSON has them, and the files that make it."""
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode())
    for path in sorted(code):
        digest.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


class LayerCache:
    """The layers of one cache folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def use(self, key: str, base: Path) -> Iterator[Path | None]:
        """The layer of this key on `base`, which stays there until the block ends; None where there is none."""
        path = self._folder / f"{key}{SUFFIX}"
        with self._lock():
            held = self._take(path, base)
        try:
            yield path if held is not None else None
        finally:
            if held is not None:
                os.close(held)

    def store(self, key: str, disk: Path) -> None:
        """Keep a copy of `disk`, to which nothing is written meanwhile, and forget the layers used longest ago."""
        path = self._folder / f"{key}{SUFFIX}"
        with self._lock():
            partial = path.with_suffix(".partial")
            shutil.copyfile(disk, partial)
            sync_file(partial)
            write_atomic(path.with_suffix(".sha256"), f"{sha256_file(partial)}\n")
            partial.chmod(0o444)
            partial.replace(path)
            self._forget_old()

    def _lock(self) -> AbstractContextManager[None]:
        return exclusive(self._folder / ".lock")

    def _take(self, path: Path, base: Path) -> int | None:
        """An open handle on a layer that is what it was, locked against `_forget_old`."""
        if not path.exists():
            return None
        try:
            promised = path.with_suffix(".sha256").read_text(encoding="utf-8").strip()
            sound = sha256_file(path) == promised and qcow2.backing_file(path) == base
        except (OSError, ToolError):
            sound = False
        if not sound:
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_SH)
        return handle

    def _forget_old(self) -> None:
        layers = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in layers[:-KEEP]:
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # a build stands on it
                path.unlink()
                path.with_suffix(".sha256").unlink(missing_ok=True)
