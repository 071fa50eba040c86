"""Layers: disks with the base and its packages, kept for builds in which only other things change.

A layer is known by the digest of everything that decides it. It is not trusted further than that: its own digest is
compared before each use, and one that is damaged is forgotten.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ci.host import qcow2
from ci.host.files import sha256_file, write_atomic
from ci.host.workspace import exclusive, try_lock
from ci.image.disk.layout import Layout, Partition

KEEP = 5  # of some 200 MB each
SUFFIX = ".qcow2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A disk to build upon, read-only, and what is on it."""

    path: Path
    layout: Layout


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
    def use(self, key: str) -> Iterator[Layer | None]:
        """The layer of this key, which stays there until the block ends; None where there is none."""
        path = self._path(key)
        with ExitStack() as held:
            with exclusive(self._folder / ".lock"):
                layout = _layout(path)
                if layout is None:
                    path.unlink(missing_ok=True)
                else:
                    os.utime(path)
                    file = held.enter_context(path.open("rb"))
                    fcntl.flock(file, fcntl.LOCK_SH)  # keeps it from `_forget_old`
            yield None if layout is None else Layer(path=path, layout=layout)

    def store(self, key: str, disk: Path, disk_format: str, layout: Layout) -> None:
        """Keep a copy of `disk`, to which nothing is written meanwhile, and forget the layers used longest ago."""
        path = self._path(key)
        with exclusive(self._folder / ".lock"):
            partial = path.with_suffix(".partial")
            # Compressed: a quarter of the bytes to write, beside which the session goes on. And not synchronised: the
            # digest tells a layer that a crash cut off.
            qcow2.convert_compressed(disk, partial, source_format=disk_format)
            note = {"sha256": sha256_file(partial), "layout": {place: asdict(one) for place, one in layout.items()}}
            write_atomic(path.with_suffix(".json"), json.dumps(note))
            partial.chmod(0o444)
            partial.replace(path)
            self._forget_old()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{SUFFIX}"

    def _forget_old(self) -> None:
        layers = sorted(self._folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime)
        for path in layers[:-KEEP]:
            with path.open("rb") as file:
                if try_lock(file):  # else a build stands on it
                    path.unlink()
                    path.with_suffix(".json").unlink(missing_ok=True)


def _layout(path: Path) -> Layout | None:
    """What is on a layer; None where it is not the file of which it was said."""
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        layout = {place: Partition(**one) for place, one in note["layout"].items()}
        return layout if sha256_file(path) == note["sha256"] else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
