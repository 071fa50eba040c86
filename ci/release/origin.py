"""Which release something is of: by its digest or its tag. A name is a claim to compare with, and never an answer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from ci.github.answers import Release
from ci.github.client import GitHub
from ci.github.transfer import Transfer
from ci.host.errors import InputError, ToolsmithError, UnknownOriginError, VerificationError
from ci.host.files import read_bounded
from ci.records import artifacts
from ci.records.record import MAX_BYTES, parse_record
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord
from ci.records.version import Version
from ci.release.read_back import read_release_bytes


class Kind(StrEnum):
    """What is asked about."""

    FILE = "file"
    DIGEST = "digest"
    TAG = "tag"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is asked about, as it was given. A tag has no digest; only a file has a name and a size."""

    kind: Kind
    given: str
    sha256: str | None = None
    name: str | None = None
    size: int | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRecord:
    """A release record with the digest of its own bytes, and where it was read."""

    record: ReleaseRecord
    sha256: str
    size: int
    where: str

    @property
    def files(self) -> tuple[AssetRecord, ...]:
        """All files of the release, the record included."""
        url = self.record.ensure_vm.url.rpartition("/")[0]
        own = AssetRecord(name=artifacts.RELEASE, sha256=self.sha256, size=self.size, url=f"{url}/{artifacts.RELEASE}")
        return (*self.record.assets, own)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where something is from. `file` is the published one, None for a tag.

    `intact` tells whether the bytes at hand are the published ones; None where there are none at hand. `also` are
    further releases with the same file.
    """

    known: KnownRecord
    file: AssetRecord | None
    intact: bool | None
    also: tuple[str, ...] = ()

    @property
    def image(self) -> ImageRelease:
        """The image it is about: the one whose file it is, else the one of the manifest."""
        record = self.known.record
        return next((image for image in record.images if self.file in image.assets), record.image)


def find(subject: Subject, known: Iterable[KnownRecord]) -> Origin | None:
    """The newest release that has it, by digest or by tag; else the one whose file it claims to be by its name."""
    newest_first = sorted(known, key=lambda one: Version.parse(one.record.tag), reverse=True)
    if subject.kind is Kind.TAG:
        found = next((one for one in newest_first if one.record.tag == subject.tag), None)
        return None if found is None else Origin(known=found, file=None, intact=None)
    same = [(one, file) for one in newest_first for file in one.files if file.sha256 == subject.sha256]
    if same:
        known_one, file = next((pair for pair in same if pair[1].name == subject.name), same[0])
        also = dict.fromkeys(one.record.tag for one, _ in same if one is not known_one)
        intact = True if subject.kind is Kind.FILE else None
        return Origin(known=known_one, file=file, intact=intact, also=tuple(also))
    claimed = [(one, file) for one in newest_first for file in one.files if file.name == subject.name]
    # Every release has a release.json and an ensure-vm.pyz: such a name claims nothing.
    if len(claimed) == 1 and claimed[0][0].record.tag in claimed[0][1].name:
        return Origin(known=claimed[0][0], file=claimed[0][1], intact=False)
    return None


def read_folder(folder: Path) -> tuple[list[KnownRecord], list[ToolsmithError]]:
    """The records in `releases/`, and what is wrong with those that cannot be read."""
    known: list[KnownRecord] = []
    problems: list[ToolsmithError] = []
    for path in sorted(folder.glob("v*.json")):
        try:
            one = read_known(read_bounded(path, MAX_BYTES), str(path))
            if one.record.tag != path.stem:
                raise InputError(
                    f"{path} is the record of {one.record.tag}", hint="It was renamed; look at its history."
                )
            known.append(one)
        except ToolsmithError as problem:
            problems.append(problem)
    return known, problems


def read_known(data: bytes, where: str) -> KnownRecord:
    """A record with its digest; raises InputError where it is none."""
    record = parse_record(data, ReleaseRecord, where)
    Version.parse(record.tag)
    return KnownRecord(record=record, sha256=sha256(data).hexdigest(), size=len(data), where=where)


def find_at(github: GitHub, transfer: Transfer, subject: Subject, releases: Sequence[Release]) -> Origin | None:
    """The same at GitHub, where the record is a file of the release.

    Raises UnknownOriginError for a release without a record, VerificationError for one that its record contradicts.
    """
    candidates = [release for release in releases if not release.draft and _may_hold(subject, release)]
    known = [_known_at(github, transfer, release) for release in candidates]
    origin = find(subject, known)
    if known and origin is None:
        raise VerificationError(
            f"{known[0].record.url} has this file, and its record does not know it",
            hint="Somebody changed the release. Do not use the file.",
        )
    return origin


def _may_hold(subject: Subject, release: Release) -> bool:
    if subject.kind is Kind.TAG:
        return release.tag_name == subject.tag
    named = subject.name is not None and release.tag_name in subject.name
    return release.version is not None and any(
        asset.sha256 == subject.sha256 or (named and asset.name == subject.name) for asset in release.assets
    )


def _known_at(github: GitHub, transfer: Transfer, release: Release) -> KnownRecord:
    if not any(asset.name == artifacts.RELEASE for asset in release.assets):
        raise UnknownOriginError(
            f"it is of {release.html_url}, a release without a record: nothing tells what went in",
            hint="It was not published by this repository's automation, and nobody vouches for it.",
        )
    data = read_release_bytes(github, transfer, release)
    known = read_known(data, f"{artifacts.RELEASE} of {release.html_url}")
    own = (release.tag_name, github.context.repository.lower())
    if (known.record.tag, known.record.repository.lower()) != own:
        raise VerificationError(
            f"the record of {release.html_url} speaks of {known.record.tag} in {known.record.repository}",
            hint="Do not use this release.",
        )
    return known
