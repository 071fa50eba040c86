"""What a person names to be compared: a build, a release, a list of packages; here or on the network."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationError

from ci.comparison.image_facts import BUILD, PACKAGES, REPORT, Side, of_build, of_packages, of_release
from ci.fetch.download import read_url, read_url_if_present
from ci.fetch.open_url import Client
from ci.fetch.source import public_url
from ci.host.errors import FetchError, InputError, VerificationError
from ci.host.progress import Reporter
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.packages import HEADER, parse_packages
from ci.records.record import parse_record
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord
from ci.records.validation import ValidationReport
from ci.records.version import Version

LARGEST = 16 << 20
KINDS = (
    "It may be a file (*.build.json, *.packages.tsv, release.json), a folder with one build, the name of a build in "
    "dist/, a tag, or an https URL of release.json or of a package list."
)

_WEB = re.compile(r"https?://", re.IGNORECASE)
_BUILD_SCHEMA = "fountainkit-toolsmith-image/build/"
_RELEASE_SCHEMA = "fountainkit-toolsmith-image/release/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where names lead: `dist` has builds, `releases` the records of releases, and `repository`, OWNER/NAME, the rest.

    `server` is the GitHub of `repository`, which is empty where none is known.
    """

    dist: Path
    releases: Path
    server: str
    repository: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """How files are fetched, local ones too: so that all are bounded the same way."""

    client: Client
    reporter: Reporter

    def url(self, url: str) -> bytes:
        """The bytes at a URL; raises what `read_url` raises."""
        return read_url(url, max_bytes=LARGEST, reporter=self.reporter, client=self.client)

    def url_if_present(self, url: str) -> bytes | None:
        """The same, or None where there is nothing."""
        return read_url_if_present(url, max_bytes=LARGEST, reporter=self.reporter, client=self.client)

    def path(self, path: Path) -> bytes:
        """A local file's bytes; raises FetchError."""
        return self.url(path.absolute().as_uri())

    def asset(self, asset: AssetRecord) -> bytes:
        """A release's file. Its URL comes from a record, which comes from anywhere: it may not name a local file."""
        if not _WEB.match(asset.url):
            raise InputError(f"{asset.name} is at {public_url(asset.url)!r}, which is no web address")
        return self.url(asset.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What was named: one image, or a release of which one is still to be chosen."""

    source: str
    found: Side | ReleaseRecord

    @property
    def images(self) -> set[str]:
        """The names that its images go by, without their versions."""
        if isinstance(self.found, ReleaseRecord):
            return {image.name for image in _images(self.found)}
        return {self.found.facts.name} if self.found.facts.name else set()

    def side(self, image: str | None, like: set[str], fetch: Fetch) -> Side:
        """One image: of a release that of the definition `image`, else one that `like` has too, else its main one."""
        if isinstance(self.found, Side):
            return self.found
        return of_release(self.source, self.found, _choose(self.source, self.found, image, like), fetch.asset)


def _images(record: ReleaseRecord) -> list[ImageRelease]:
    return [record.image, *record.others]


def _choose(source: str, record: ReleaseRecord, image: str | None, like: set[str]) -> ImageRelease:
    images = _images(record)
    if image is None:
        return next((one for one in images if one.name in like), record.image)
    chosen = next((one for one in images if one.definition == image), None)
    if chosen is None:
        known = ", ".join(one.definition for one in images)
        raise InputError(f"{source} has no image '{image}'", hint=f"It has: {known}.")
    return chosen


def look_up(name: str, places: Places, fetch: Fetch) -> Named:
    """What `name` names; raises InputError, FetchError, AccessError or VerificationError."""
    if _WEB.match(name):
        return _from_url(name, fetch)
    if (path := local_file(name, places.dist)) is not None:
        return _from_file(path, fetch)
    if name.startswith("v") and os.sep not in name:
        return _from_tag(str(Version.parse(name)), places, fetch)
    raise InputError(f"there is nothing called {name!r}", hint=KINDS)


def local_file(name: str, dist: Path) -> Path | None:
    """The file that a name stands for, of a build its record; None where there is none. Raises InputError."""
    path, stem = Path(name), name.removesuffix(artifacts.IMAGE)
    try:
        if path.is_dir():
            return _only_build(path)
        # An image stands for its build record, which is not read as an image would be.
        candidates = [Path(f"{stem}{BUILD}"), dist / f"{stem}{BUILD}", *([path] if stem == name else [])]
        return next((candidate for candidate in candidates if candidate.is_file()), None)
    except OSError as error:
        raise InputError(f"{name!r} cannot be looked at: {error.strerror}", hint=KINDS) from error


def _only_build(folder: Path) -> Path:
    found = sorted(folder.glob(f"*{BUILD}")) or sorted(folder.glob(f"*{PACKAGES}"))
    if not found:
        raise InputError(f"there is no build in {folder}", hint=KINDS)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(f"{folder} has several builds", hint=f"Name one of them: {names}.")
    return found[0]


def _from_file(path: Path, fetch: Fetch) -> Named:
    source, data = str(path), fetch.path(path)
    if _is_packages(data, path.name):
        return Named(source=source, found=of_packages(source, parse_packages(data, source)))
    schema = _schema(data, source)
    if schema.startswith(_RELEASE_SCHEMA):
        return Named(source=source, found=parse_record(data, ReleaseRecord, source))
    if not schema.startswith(_BUILD_SCHEMA):
        raise _unknown(source)
    build = parse_record(data, BuildRecord, source)
    packages, report = (_sibling(path, ending) for ending in (PACKAGES, REPORT))
    side = of_build(
        source,
        build,
        parse_packages(fetch.path(packages), str(packages)) if packages else None,
        parse_record(fetch.path(report), ValidationReport, str(report)) if report else None,
    )
    return Named(source=source, found=side)


def _sibling(path: Path, ending: str) -> Path | None:
    if not path.name.endswith(BUILD):
        return None
    sibling = path.with_name(path.name.removesuffix(BUILD) + ending)
    return sibling if sibling.is_file() else None


def _from_url(url: str, fetch: Fetch) -> Named:
    source, data = public_url(url), fetch.url(url)
    if _is_packages(data, urlsplit(url).path):
        return Named(source=source, found=of_packages(source, parse_packages(data, source)))
    if not _schema(data, source).startswith(_RELEASE_SCHEMA):
        raise _unknown(source)
    return Named(source=source, found=parse_record(data, ReleaseRecord, source))


def _from_tag(tag: str, places: Places, fetch: Fetch) -> Named:
    local = places.releases / f"{tag}.json"
    if local.is_file():
        record = parse_record(fetch.path(local), ReleaseRecord, str(local))
    else:
        record = _published(tag, places, fetch)
    if record.tag != tag:
        raise VerificationError(f"the record of {tag} speaks of {record.tag}", hint="Do not use this release.")
    return Named(source=tag, found=record)


def _published(tag: str, places: Places, fetch: Fetch) -> ReleaseRecord:
    if not places.repository:
        raise InputError(
            f"{places.releases} has no record of {tag}",
            hint="Name the repository that released it: --repository OWNER/NAME, or GITHUB_REPOSITORY.",
        )
    url = f"{places.server}/{places.repository}/releases/download/{tag}/{artifacts.RELEASE}"
    data = fetch.url_if_present(url)
    if data is None:
        raise FetchError(
            f"{places.repository} has no release {tag}, or one without a {artifacts.RELEASE}",
            hint="Check the tag for typing errors. A private repository needs GITHUB_TOKEN. What was not released by "
            "this repository's automation has no record: compare package lists instead.",
        )
    return parse_record(data, ReleaseRecord, public_url(url))


def _is_packages(data: bytes, path: str) -> bool:
    return path.endswith(".tsv") or data.startswith(HEADER.encode())


class _AnyRecord(BaseModel):
    """What all records have."""

    schema_: str = Field(alias="schema")


def _schema(data: bytes, source: str) -> str:
    try:
        return _AnyRecord.model_validate_json(data).schema_
    except ValidationError as error:
        raise _unknown(source, str(error)) from error


def _unknown(source: str, details: str = "") -> InputError:
    return InputError(
        f"{source} is neither a build, nor a release, nor a list of packages", hint=KINDS, details=details
    )
