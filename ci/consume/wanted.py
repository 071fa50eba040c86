"""What a manifest asks for, wherever the manifest came from."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

from ci.fetch.download import read_url
from ci.fetch.open_url import Client
from ci.fetch.source import public_url
from ci.host.errors import InputError, RefusedError
from ci.host.files import read_bounded
from ci.host.progress import Reporter
from ci.records.manifest_rules import MAX_BYTES, WEB_SCHEMES, Document, is_published, read_manifest

MANIFEST = Path(".toolsmith", "tools.json")
# Of a file name, in bytes: file systems take 255, and a download has longer names beside it.
LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """A manifest as it was read: from a file, or from a URL, which is what `location` tells."""

    location: Path | str
    data: bytes
    document: Document

    @property
    def where(self) -> str:
        """How to speak of it."""
        return str(self.location) if isinstance(self.location, Path) else public_url(self.location)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image: its folder in the cache, its file's name there and digest, and a URL, if any, that leads to it.

    `size` is in bytes, None where the manifest does not tell; `version` is "" then. `remembered` is where the manifest
    says that it came from, once it was localized.
    """

    name: str
    file: str
    sha256: str
    size: int | None
    version: str
    source: str | None
    remembered: str = ""

    @property
    def from_web(self) -> bool:
        """True where it takes a network to fetch it."""
        return self.source is not None and is_web(self.source)


def is_web(reference: str) -> bool:
    """True for an https or http URL."""
    return reference.lower().startswith(tuple(f"{scheme}://" for scheme in WEB_SCHEMES))


def read_manifest_file(given: str | None, workspace: Path, *, client: Client, reporter: Reporter) -> ManifestFile:
    """The manifest of the workspace, or another one by its path or URL; raises InputError or FetchError."""
    if given is not None and "://" in given and given[:7].lower() != "file://":
        data = read_url(given, max_bytes=MAX_BYTES, reporter=reporter, client=client)
        return ManifestFile(location=given, data=data, document=read_manifest(data, public_url(given)))
    if given is None:
        path = workspace / MANIFEST
        if _is_absent(path):
            raise InputError(
                f"there is no {path}",
                hint="Run it in the workspace's folder, or name that with --workspace, or a manifest with --manifest.",
            )
        place_inside(workspace, path)
    else:
        path = Path(unquote(urlsplit(given).path) if "://" in given else given)
    data = read_bounded(path, MAX_BYTES, hint="Check the path, and who may read it.")
    return ManifestFile(location=path, data=data, document=read_manifest(data, str(path)))


def _is_absent(path: Path) -> bool:
    """True where nothing is there; not where that cannot be seen, which reading it tells."""
    try:
        path.lstat()
    except OSError as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def place_inside(workspace: Path, path: Path) -> Path:
    """Where a manifest of the workspace lies in it, once links are followed; raises InputError where they lead out."""
    real = Path(os.path.realpath(path))
    root = Path(os.path.realpath(workspace))
    if not real.is_relative_to(root) or (os.path.lexists(path) and not os.access(path, os.F_OK)):
        raise InputError(
            f"{path} is, or lies behind, a link to {real}, which is not in the workspace",
            hint="Remove the link. If it is right, name the manifest that it leads to with --manifest.",
        )
    return real.relative_to(root)


def wanted_image(manifest: ManifestFile) -> Wanted:
    """The image; raises RefusedError where none is published yet, InputError where it cannot be fetched."""
    image = manifest.document["image"]
    reference: str = image["qcow2"]
    if not is_published(image):
        raise RefusedError(
            f"{manifest.where} has no image yet",
            hint="Nothing was released so far; the manifest is filled by a release.",
        )
    file = _file_name(reference)
    if len(file.encode()) > LONGEST_NAME or len(image["name"].encode()) > LONGEST_NAME:
        raise InputError(
            f"{manifest.where} has a name of more than {LONGEST_NAME} bytes", hint="File systems do not take it."
        )
    remembered: str = image.get("qcow2_url", "")
    if is_web(reference) or _file_name(remembered) != file:
        remembered = ""
    return Wanted(
        name=image["name"],
        file=file,
        sha256=image["qcow2_sha256"],
        size=image.get("size"),
        version=image.get("version", ""),
        source=_source(manifest, reference, file, remembered),
        remembered=remembered,
    )


def _file_name(reference: str) -> str:
    return unquote(urlsplit(reference).path if is_web(reference) else reference).rpartition("/")[2]


def _source(manifest: ManifestFile, reference: str, file: str, remembered: str) -> str | None:
    if is_web(reference):
        return reference
    if urlsplit(reference).scheme.lower() == "oci":
        raise InputError(
            f"{manifest.where} has the image in a registry, which this tool does not speak to",
            hint=f"Fetch it, for example with `oras pull`, put it beside the manifest, and name it there: {file}",
        )
    if isinstance(manifest.location, str):
        if local := next((one for one in (reference, remembered) if one.startswith("/")), ""):
            raise InputError(
                f"{manifest.where} names a file of this machine: {local}",
                hint="A manifest from the network may name a URL, or a file beside it.",
            )
        return remembered or urljoin(manifest.location, quote(reference))
    path = manifest.location.absolute().parent / reference
    if reference.startswith("/") or os.access(path, os.F_OK):
        return path.as_uri()
    return (Path(remembered).as_uri() if remembered.startswith("/") else remembered) or None
