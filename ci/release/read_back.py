"""Reading a published release back, as anybody could, and comparing it with its own record."""

import hashlib

from ci.github.answers import UPLOADED, Asset, Release
from ci.github.client import GitHub
from ci.github.transfer import Transfer
from ci.host.errors import InputError, RefusedError, VerificationError
from ci.host.progress import Reporter
from ci.records import artifacts
from ci.records.packages import Package, read_packages
from ci.records.record import parse_record
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord

PACKAGES_SUFFIX = ".packages.tsv"


def read_published(github: GitHub, transfer: Transfer, tag: str, reporter: Reporter) -> ReleaseRecord:
    """The record of a published release whose assets are all what it says.

    Raises RefusedError where it is not published, VerificationError where an asset differs.
    """
    release = github.published_release(tag)
    if release is None or release.draft:
        raise RefusedError(f"{tag} is not published", hint=f"`python -m ci.publish_release --tag {tag}` does that.")
    record = read_record_of(github, transfer, release)
    assets = {asset.name: asset for asset in release.assets}
    for expected in record.assets:
        _verify(github, transfer, assets.get(expected.name), expected, reporter)
    return record


def newest_release(github: GitHub) -> Release | None:
    """The published release with the highest version; None where there is none."""
    published = [(version, one) for one in github.releases() if not one.draft and (version := one.version)]
    return max(published, key=lambda pair: pair[0])[1] if published else None


def read_record_of(github: GitHub, transfer: Transfer, release: Release) -> ReleaseRecord:
    """The record that a release carries, of this very release; raises VerificationError."""
    tag, record = release.tag_name, read_release_record(github, transfer, release)
    if (record.tag, record.repository.lower()) != (tag, github.context.repository.lower()):
        raise VerificationError(
            f"the record of {tag} speaks of {record.tag} in {record.repository}", hint="Do not use this release."
        )
    return record


def read_packages_of(github: GitHub, transfer: Transfer, release: Release, image: ImageRelease) -> tuple[Package, ...]:
    """The packages of an image of a release; raises VerificationError where the list is not what was published."""
    expected = next((asset for asset in image.assets if asset.name.endswith(PACKAGES_SUFFIX)), None)
    asset = next((asset for asset in release.assets if expected and asset.name == expected.name), None)
    if expected is None or asset is None:
        raise VerificationError(
            f"{release.tag_name} has no list of the packages of {image.definition}", hint="Look at the release's files."
        )
    data = github.persistence.read(f"download of {asset.name}", lambda: transfer.read(asset))
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise VerificationError(f"{asset.name} is not what was published", hint="Somebody replaced it.")
    return read_packages(data.decode("utf-8", errors="replace"), asset.name)


def read_release_record(github: GitHub, transfer: Transfer, release: Release) -> ReleaseRecord:
    """The record that a release carries; raises VerificationError where it has none, or none that can be read."""
    data = read_release_bytes(github, transfer, release)
    try:
        return parse_record(data, ReleaseRecord, f"the {artifacts.RELEASE} of {release.tag_name}")
    except InputError as error:
        hint = "It may be of another version of this repository; use the commands of that version."
        raise VerificationError(error.message, hint=hint, details=error.details) from error


def read_release_bytes(github: GitHub, transfer: Transfer, release: Release) -> bytes:
    """That record as it was published; raises VerificationError where there is none."""
    asset = next((asset for asset in release.assets if asset.name == artifacts.RELEASE), None)
    if asset is None:
        raise VerificationError(
            f"{release.tag_name} has no {artifacts.RELEASE}",
            hint="It was not published by this repository's automation.",
        )
    return github.persistence.read(f"download of {artifacts.RELEASE}", lambda: transfer.read(asset))


def _verify(github: GitHub, transfer: Transfer, asset: Asset | None, expected: AssetRecord, reporter: Reporter) -> None:
    if asset is None or asset.state != UPLOADED or asset.size != expected.size:
        raise VerificationError(
            f"{expected.name} is missing from the release, or incomplete",
            hint="Somebody changed the release. Publish the day's next version; do not roll this one out.",
        )
    sha256 = asset.sha256
    if sha256 is None:
        with reporter.step(f"Downloading {asset.name} to compare"):
            sha256 = github.persistence.read(f"download of {asset.name}", lambda: transfer.sha256(asset))
    if sha256 != expected.sha256:
        raise VerificationError(
            f"{expected.name} is not what was tested: SHA-256 {sha256}, expected {expected.sha256}",
            hint="Somebody replaced it. Publish the day's next version; do not roll this one out.",
        )
