"""Do the manifest, the release records and the changelog of a checkout agree? Each finding names file and field.

They change together, by a roll-out, and go back together, by its revert. So the manifest always points to the newest
record, and each record has its page and its entry in the changelog.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ci.host.errors import InputError, VerificationError
from ci.records.manifest_rules import is_published, read_manifest
from ci.records.published import parse_release
from ci.records.release import ReleaseFacts, ReleaseRecord, image_fields
from ci.records.version import Version
from ci.release.changelog import NOTHING_YET, read_entries, says_nothing_yet
from ci.release.targets import CHANGELOG, MANIFEST, leads_to

FOLDER = "releases"
NO_RECORDS = frozenset({"README.md", "release.schema.json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """The files that a roll-out changes; `releases` are those of the folder, by name."""

    manifest: bytes
    changelog: str
    releases: Mapping[str, bytes]


def findings(checkout: Checkout) -> Iterator[str]:
    """What is not consistent, in the order of manifest, records, changelog."""
    records: dict[Version, ReleaseRecord] = {}
    problems = list(_record_problems(checkout, records))
    yield from _manifest_problems(checkout, records)
    yield from problems
    yield from _changelog_problems(checkout.changelog, records)


def _manifest_problems(checkout: Checkout, records: Mapping[Version, ReleaseRecord]) -> Iterator[str]:
    try:
        image = read_manifest(checkout.manifest, MANIFEST)["image"]
    except InputError as error:
        yield error.message
        return
    newest = max(records, default=None)
    if not is_published(image):
        if newest is not None:
            yield f"{MANIFEST}: image.qcow2: nothing is released by it, but there is {FOLDER}/{newest}.json"
        return
    try:
        version = Version.parse(image.get("version", ""))
    except InputError:
        yield f"{MANIFEST}: image.version: {image.get('version', '')!r} is not the version of a release"
        return
    if version not in records:
        yield f"{MANIFEST}: image.version: {version} has no record, {FOLDER}/{version}.json"
        return
    if version != newest:
        yield f"{MANIFEST}: image.version: {version} is not the newest record, which is {FOLDER}/{newest}.json"
    for key, value in image_fields(records[version]).items():
        if image.get(key) != value and not (key == "qcow2" and leads_to(image[key], str(value))):
            yield f"{MANIFEST}: image.{key}: {image.get(key)!r}, but {FOLDER}/{version}.json has {value!r}"


def _record_problems(checkout: Checkout, records: dict[Version, ReleaseRecord]) -> Iterator[str]:
    """Fills `records` with those that can be read."""
    for name, data in sorted(checkout.releases.items()):
        if name in NO_RECORDS:
            continue
        tag, _, ending = name.rpartition(".")
        try:
            version = Version.parse(tag)
        except InputError:
            version = None
        if version is None or ending not in {"json", "md"}:
            yield f"{FOLDER}/{name}: its name is not that of a release's record or page"
        elif (other := f"{tag}.{'md' if ending == 'json' else 'json'}") not in checkout.releases:
            yield f"{FOLDER}/{name}: {FOLDER}/{other} is missing beside it"
        if version is not None and ending == "json":
            try:
                records[version] = parse_release(data, f"{FOLDER}/{name}")
            except (InputError, VerificationError) as error:
                yield error.message
    for version, record in sorted(records.items()):
        page = checkout.releases.get(f"{version}.md")
        yield from (f"{FOLDER}/{version}.json: {problem}" for problem in _problems_inside(version, record, records))
        if page is not None:
            yield from (f"{FOLDER}/{version}.md: {problem}" for problem in _page_problems(version, record, page))


def _problems_inside(
    version: Version, record: ReleaseRecord, records: Mapping[Version, ReleaseRecord]
) -> Iterator[str]:
    if record.tag != str(version):
        yield f"tag: {record.tag!r}, but the file's name says {version}"
    if record.previous is None:
        return
    try:
        previous = Version.parse(record.previous.tag)
    except InputError as error:
        yield f"previous.tag: {error.message}"
        return
    if previous >= version:
        yield f"previous.tag: {previous} is not older than {version}"
    elif previous in records:
        theirs = ReleaseFacts.of(records[previous]).model_dump()
        for key, value in record.previous.model_dump().items():
            if value != theirs[key]:
                yield f"previous.{key}: {value!r}, but {FOLDER}/{previous}.json has {theirs[key]!r}"


def _page_problems(version: Version, record: ReleaseRecord, page: bytes) -> Iterator[str]:
    try:
        text = page.decode("utf-8")
    except UnicodeDecodeError as error:
        yield f"it is not UTF-8: {error}"
        return
    if [found for found, _ in read_entries(text)][:1] != [version]:
        yield f"heading: it does not begin with {version}"
    if record.image.qcow2.sha256 not in text:
        yield f"SHA-256: it does not name the image's, {record.image.qcow2.sha256}"


def _changelog_problems(text: str, records: Mapping[Version, ReleaseRecord]) -> Iterator[str]:
    entries = read_entries(text)
    versions = [version for version, _ in entries]
    for version, entry in entries:
        if versions.count(version) > 1:
            yield f"{CHANGELOG}: {version}: there are {versions.count(version)} entries of it"
        if version not in records:
            yield f"{CHANGELOG}: {version}: there is no {FOLDER}/{version}.json for this entry"
        elif records[version].image.qcow2.sha256 not in entry:
            yield f"{CHANGELOG}: {version}: it does not name the image's SHA-256, {records[version].image.qcow2.sha256}"
    for version in sorted(records.keys() - set(versions)):
        yield f"{CHANGELOG}: {version}: there is no entry for {FOLDER}/{version}.json"
    if versions != sorted(versions, reverse=True):
        yield f"{CHANGELOG}: the entries are not newest first: {', '.join(map(str, versions))}"
    if versions and says_nothing_yet(text):
        yield f"{CHANGELOG}: it still says {NOTHING_YET!r}"
