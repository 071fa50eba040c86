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
from ci.records.manifest_rules import IMAGE_CHECKS, MAX_BYTES, read_manifest, toolsmith_obstacle

ON_MACOS = (
    "it starts /usr/bin/qemu-system-x86_64, where macOS lets nobody install one; start the image by hand, with "
    "Homebrew's qemu and -accel hvf, or on Apple Silicon, where hvf runs no x86-64, -accel tcg"
)


def localize(manifest: ManifestFile, wanted: Wanted, size: int, workspace: Path) -> Path | None:
    """Let a manifest of the workspace name the file in its cache, and return its path; None where it does so already.

    It is the one that was read, where that is in the workspace, else the workspace's own. Everything else in it stays,
    byte for byte. A workspace without a manifest gets a copy of the one that was read. Raises InputError for a manifest
    that is none, RefusedError where somebody else writes it too.
    """
    path = edited_by(manifest, workspace)
    place = place_inside(workspace, path)
    with OpenFolder.at(workspace) as folder:
        return _localize(folder, place, manifest, wanted, size)


def obstacle(manifest: ManifestFile, workspace: Path) -> str | None:
    """Why today's Toolsmith cannot use a manifest though its image is in the cache, and the cure; None where it can.

    It reads `tools.json` of its imageDirectory, by default the folder that it runs in, and takes that for the
    workspace, or, where it is called `.toolsmith`, for a folder of the workspace.
    """
    read = {os.path.realpath(workspace / place) for place in (MANIFEST, MANIFEST.name)}
    if not isinstance(manifest.location, Path) or os.path.realpath(manifest.location) not in read:
        own = edited_by(manifest, workspace) == manifest.location
        cure = "move it there" if own else "--localize has one there name the image"
        return f"it reads {MANIFEST}, or {MANIFEST.name}, of the workspace; {cure}"
    if why := toolsmith_obstacle(manifest.document):
        return f"{why}; --localize mends that here, a roll-out of the form `file` for everybody"
    if "," in os.fspath(workspace.absolute()):
        return "the workspace's path has a comma, which breaks its options for QEMU; move the workspace"
    return ON_MACOS if os.uname().sysname == "Darwin" else None


def edited_by(manifest: ManifestFile, workspace: Path) -> Path:
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
