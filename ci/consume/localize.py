"""The form of a manifest that today's Toolsmith can hydrate: with a bare file name in place of the URL.

Toolsmith compares the name of the file in its cache with `qcow2` as it is written, which for a URL never matches:
docs/consuming.md.
"""

import os
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ci.consume.wanted import MANIFEST, ManifestFile, Wanted, place_inside
from ci.host.errors import InputError, RefusedError
from ci.host.open_folder import OpenFolder
from ci.records.manifest_edit import Fields, replace_image
from ci.records.manifest_rules import IMAGE_CHECKS, MAX_BYTES, read_manifest


def localize(manifest: ManifestFile, wanted: Wanted, size: int, workspace: Path) -> Path | None:
    """Let a manifest of the workspace name the file in its cache, and return its path; None where it does so already.

    It is the one that was read, where that is in the workspace, else the workspace's own. Everything else in it stays,
    byte for byte. A workspace without a manifest gets a copy of the one that was read. Raises InputError for a manifest
    that is none, RefusedError where somebody else writes it too.
    """
    path = _edited(manifest, workspace)
    place = place_inside(workspace, path)
    with OpenFolder.at(workspace) as folder:
        return _localize(folder, place, manifest, wanted, size)


def _edited(manifest: ManifestFile, workspace: Path) -> Path:
    """The manifest that is to be changed; whoever named one outside of the workspace has not said that it is theirs."""
    if isinstance(manifest.location, Path):
        root = Path(os.path.realpath(workspace))
        if Path(os.path.realpath(manifest.location)).is_relative_to(root):
            return manifest.location
    return workspace / MANIFEST


def _localize(folder: OpenFolder, place: Path, manifest: ManifestFile, wanted: Wanted, size: int) -> Path | None:
    """As `localize`, for the manifest at `place` below `folder`."""
    if len(place.parts) > 1:
        with folder.folder(place.parts[0], create=True) as inner:
            return _localize(inner, place.relative_to(place.parts[0]), manifest, wanted, size)
    path, name = Path(os.path.realpath(folder.path)) / place, str(place)
    found = folder.state(name)
    before = None if found is None else _read(folder, name)
    data = manifest.data if before is None else before
    read_manifest(data, str(path))  # so that it is text, too
    text = localized(data.decode(), wanted, size, str(path))
    folder.sweep_unfinished(name)
    if before is not None and text.encode() == before:
        return None
    if before is not None and _read(folder, name) != before:
        raise RefusedError(f"{path} changed while it was about to be edited", hint="Nothing was written. Run it again.")
    folder.write_atomic(name, text, mode=0o644 if found is None else stat.S_IMODE(found.st_mode))
    return path


def localized(text: str, wanted: Wanted, size: int, where: str) -> str:
    """The manifest in `text`, which is the file `where`, naming the image as in the cache; `size` is its bytes."""
    fields: Fields = {
        "name": wanted.name,
        "qcow2": wanted.file,
        "qcow2_sha256": wanted.sha256,
        "version": wanted.version,
        "size": size,
        "qcow2_url": _origin(wanted, Path(where).parent) or None,
    }
    return replace_image(text, fields, where)


def _origin(wanted: Wanted, folder: Path) -> str:
    """Where the image came from, which Toolsmith ignores: without it, an emptied cache could not be filled again."""
    if wanted.source is None or wanted.from_web:
        return wanted.source or wanted.remembered
    path = Path(unquote(urlsplit(wanted.source).path))
    if os.path.realpath(path.parent) == os.path.realpath(folder):  # where it is looked for anyway
        return wanted.remembered
    origin = os.path.normpath(path)
    return origin if IMAGE_CHECKS["qcow2_url"](origin) is None else ""


def _read(folder: OpenFolder, name: str) -> bytes:
    with folder.reading(name) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{folder.path / name} has more than {MAX_BYTES} bytes", hint="Is it the right file?")
    return data
