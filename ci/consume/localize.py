"""The form of a manifest that today's Toolsmith can hydrate: with a bare file name in place of the URL.

Toolsmith compares the name of the file in its cache with `qcow2` as it is written, which for a URL never matches:
docs/consuming.md.
"""

import stat
from pathlib import Path

from ci.consume.wanted import MANIFEST, ManifestFile, Wanted
from ci.host.errors import RefusedError
from ci.host.files import read_bounded, sweep_unfinished, write_atomic
from ci.records.manifest_edit import Fields, replace_image
from ci.records.manifest_rules import MAX_BYTES, read_manifest


def localize(manifest: ManifestFile, wanted: Wanted, size: int, workspace: Path) -> Path | None:
    """Let the workspace's manifest name the file in its cache, and return its path; None where it does so already.

    Everything else in it stays, byte for byte. A workspace without a manifest gets a copy of the one that was read.
    Where the image came from is remembered as `qcow2_url`, which Toolsmith ignores: without it, an emptied cache could
    not be filled again. Raises InputError for a manifest that is none, RefusedError where somebody else writes it too.
    """
    path = (workspace / MANIFEST).resolve()  # a link stays one
    before = read_bounded(path, MAX_BYTES) if path.exists() else None
    data = manifest.data if before is None else before
    read_manifest(data, str(path))  # so that it is text, too
    text = localized(data.decode(), wanted, size, str(path))
    sweep_unfinished(path)
    if before is not None and text.encode() == before:
        return None
    mode = stat.S_IMODE(path.stat().st_mode) if before is not None else 0o644
    if before is not None and read_bounded(path, MAX_BYTES) != before:
        raise RefusedError(f"{path} changed while it was about to be edited", hint="Nothing was written. Run it again.")
    write_atomic(path, text, mode=mode)
    return path


def localized(text: str, wanted: Wanted, size: int, where: str) -> str:
    """The manifest in `text`, naming the image as the file in the cache; `size` is its bytes."""
    fields: Fields = {
        "name": wanted.name,
        "qcow2": wanted.file,
        "qcow2_sha256": wanted.sha256,
        "version": wanted.version,
        "size": size,
    }
    text = replace_image(text, fields, where)
    source = wanted.source if wanted.from_web else None
    return replace_image(text, {"qcow2_url": source or ""}, where, add=source is not None)
