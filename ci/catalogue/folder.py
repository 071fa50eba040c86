"""The folder that a catalogue is written to: whole, or as it was before."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ci.catalogue.site import DOCUMENT, PAGE
from ci.host.errors import RefusedError
from ci.host.files import UNFINISHED, delayed_signals, sync, write_atomic


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Put exactly `files` into `folder`, in the place of an older catalogue; raises RefusedError for anything else."""
    _require_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=UNFINISHED))
    try:
        staged, old = scratch / "new", scratch / "old"
        for name, text in files.items():
            write_atomic(staged / name, text)
        staged.chmod(0o755)
        with delayed_signals():
            if folder.exists():
                folder.rename(old)
            try:
                staged.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        sync(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _require_replaceable(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise RefusedError(f"{folder} is not a folder", hint="Name another one with --output.")
    names = {path.name for path in folder.iterdir()}
    if names and not {PAGE, DOCUMENT} <= names:
        raise RefusedError(
            f"{folder} holds something else than a catalogue",
            hint="It would be replaced as a whole. Name an empty or a new folder with --output.",
        )
