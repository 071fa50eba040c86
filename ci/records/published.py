"""The record of a published release, which anybody may have written: the one place where it is read and distrusted."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ci.host.errors import InputError, ToolsmithError, VerificationError
from ci.host.files import read_bounded
from ci.records.record import parse_record
from ci.records.release import AssetRecord, ReleaseRecord
from ci.records.version import Version

MAX_BYTES = 16 << 20  # a record with a thousand changed packages has a hundredth of it
SCHEMA_SUFFIX = ".schema.json"


def parse_release(data: bytes, where: str, *, tag: str | None = None, repository: str | None = None) -> ReleaseRecord:
    """A record in the bytes of a file here; `where` names it. Raises InputError where it is none.

    Raises VerificationError where it contradicts itself, or is of another release than it should be: of `tag`, of
    `repository`.
    """
    if len(data) > MAX_BYTES:
        raise InputError(f"{where} is too large for a release record", hint="Look at who wrote it.")
    record = parse_record(data, ReleaseRecord, where)
    try:
        Version.parse(record.tag)
    except InputError as error:
        raise InputError(f"{where}: {error.message}", hint=error.hint) from error
    if tag not in {None, record.tag} or (repository or record.repository).lower() != record.repository.lower():
        raise VerificationError(
            f"{where}: the record of {tag or 'a release'} speaks of {record.tag} in {record.repository}",
            hint="Do not use this release.",
        )
    if problem := next(_problems(record), None):
        raise VerificationError(f"{where}: {problem}", hint="No release of ours says so: look at who wrote it.")
    return record


def _problems(record: ReleaseRecord) -> Iterator[str]:
    """What contradicts itself. Each address follows from server, repository, tag and the file's name."""
    if record.url != f"{record.server}/{record.repository}/releases/tag/{record.tag}":
        yield f"url: {record.url!r} is not the release's page in {record.repository}"
    folder = f"{record.server}/{record.repository}/releases/download/{record.tag}"
    names = [asset.name for asset in record.assets]
    images = [("image", record.image), *((f"others[{number}]", image) for number, image in enumerate(record.others))]
    assets = [
        (f"{field}.assets[{number}]", asset) for field, image in images for number, asset in enumerate(image.assets)
    ]
    own = [("ensure_vm", record.ensure_vm), *([("snippet", record.snippet)] if record.snippet else [])]
    for field, asset in (*assets, *own):
        if asset.url != f"{folder}/{asset.name}":
            yield f"{field}.url: {asset.url!r} is not of this release"
        if names.count(asset.name) > 1:
            yield f"{field}.name: {asset.name!r} is there twice"
    for field, image in images:
        if image.qcow2 not in image.assets:
            yield f"{field}.qcow2: {image.qcow2.name!r} is not among the image's assets"


def parse_published(data: bytes, where: str, *, tag: str | None = None, repository: str | None = None) -> ReleaseRecord:
    """The same for what was fetched: what is no record there is none of a release that can be used."""
    try:
        return parse_release(data, where, tag=tag, repository=repository)
    except InputError as error:
        hint = "It may be of another version of this repository; use the commands of that version."
        raise VerificationError(error.message, hint=hint, details=error.details) from error


def read_release(path: Path) -> ReleaseRecord:
    """A record in `releases/`, of the release that its name says; raises InputError or VerificationError."""
    if path.is_symlink():  # it could lead out of the repository
        raise InputError(f"{path} is not a plain file", hint="Look at its history.")
    return parse_release(read_bounded(path, MAX_BYTES), str(path), tag=str(Version.parse(path.stem)))


def read_releases(folder: Path) -> Iterator[ReleaseRecord | ToolsmithError]:
    """The records in `folder`, newest first, and in its place what is wrong with one that cannot be read."""
    found: list[tuple[Version, Path]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found += [] if path.name.endswith(SCHEMA_SUFFIX) else [(Version.parse(path.stem), path)]
        except InputError as error:
            yield InputError(f"{path} is not named as a release's record: {error.message}", hint=error.hint)
    for _, path in sorted(found, reverse=True):
        try:
            yield read_release(path)
        except ToolsmithError as error:
            yield error


def require_bytes(data: bytes, asset: AssetRecord) -> bytes:
    """The bytes of a release's file, if they are; raises VerificationError."""
    if (found := hashlib.sha256(data).hexdigest()) != asset.sha256:
        raise VerificationError(
            f"{asset.name} is not what was released: SHA-256 {found}, expected {asset.sha256}",
            hint="Somebody replaced it, or its record. Do not use this release.",
        )
    return data
