"""The release records of a folder, as they may be shown: each is what its name says, and has figures that can be drawn.

A pull request can add any file to `releases/`, so nothing is taken on trust but what the record's model promises.
"""

from collections.abc import Iterator
from pathlib import Path

from ci.host.errors import InputError
from ci.records.manifest_rules import image_findings
from ci.records.record import read_record
from ci.records.release import ImageRelease, ReleaseRecord, manifest_image
from ci.records.version import Version

SCHEMA_SUFFIX = ".schema.json"
MAX_BYTES = 4 << 20  # a record with a thousand changed packages has a tenth of it
MAX_IMAGE = 1 << 50
MAX_SECONDS = 86_400.0

_HINT = "ci.publish_release makes the records and a roll-out brings them; nobody edits them."


def read_releases(folder: Path) -> tuple[ReleaseRecord, ...]:
    """The records in `folder`, newest version first; raises InputError, naming the file that is wrong."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", hint="It holds the release records, <tag>.json.")
    paths = [path for path in sorted(folder.glob("*.json")) if not path.name.endswith(SCHEMA_SUFFIX)]
    records = {_version(path): _read(path) for path in paths}
    return tuple(record for _, record in sorted(records.items(), reverse=True))


def _version(path: Path) -> Version:
    try:
        return Version.parse(path.stem)
    except InputError as error:
        raise _wrong(path, f"its name is not that of a release: {error.message}") from None


def _read(path: Path) -> ReleaseRecord:
    # A link could lead out of the repository, and a device would never end.
    if path.is_symlink() or not path.is_file():
        raise _wrong(path, "it is not a plain file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise _wrong(path, f"it has {size} bytes, more than {MAX_BYTES}")
    record = read_record(path, ReleaseRecord)
    if problem := next(_problems(record, path), None):
        raise _wrong(path, problem)
    return record


def _problems(record: ReleaseRecord, path: Path) -> Iterator[str]:
    """What the record's model allows, and a catalogue cannot show."""
    if record.tag != path.stem:
        yield f"it is the record of {record.tag!r}"
    for image in record.images:
        yield from _image_problems(image)
    if not all(0 <= asset.size <= MAX_IMAGE for asset in (record.image.qcow2, *record.assets)):
        yield "it has a file of an impossible size"
    for finding in image_findings(manifest_image(record)):
        yield f"its image cannot be that of a manifest: {finding}"


def _image_problems(image: ImageRelease) -> Iterator[str]:
    if image.built_at.tzinfo is None:
        yield f"{image.name!r} was built at a time without a time zone"
    for boot, seconds in image.validation.ssh_seconds.items():
        if not 0 <= seconds <= MAX_SECONDS:
            yield f"the boot {boot!r} took an impossible time: {seconds}"


def _wrong(path: Path, problem: str) -> InputError:
    return InputError(f"{path} cannot be shown: {problem}", hint=_HINT)
