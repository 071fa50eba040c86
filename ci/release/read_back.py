"""Reading published releases back, as anybody could: their records, and whether their assets are what those say."""

from collections.abc import Iterable

from ci.github.answers import Release
from ci.github.client import GitHub
from ci.host.errors import RefusedError, VerificationError
from ci.records import artifacts
from ci.records.published import parse_published, require_bytes
from ci.records.release import AssetRecord, ReleaseRecord
from ci.records.version import Version
from ci.release.assets import compare_assets


def newest_release(releases: Iterable[Release], *, below: Version | None = None) -> Release | None:
    """The published release with the highest version, of those `below` one; None where there is none."""
    published = {version: one for one in releases if not one.draft and (version := one.version)}
    older = [version for version in published if below is None or version < below]
    return published[max(older)] if older else None


def read_published(github: GitHub, tag: str) -> ReleaseRecord:
    """The record of a published release of this repository whose assets are all what it says.

    Raises RefusedError where it is not published, VerificationError where an asset differs.
    """
    release = github.published_release(tag)
    if release is None or release.draft:
        raise RefusedError(f"{tag} is not published", hint=f"`python -m ci.publish_release --tag {tag}` does that.")
    record = read_record(github, release, repository=github.context.repository)
    found = compare_assets(release.assets, record.assets, github.sha256)
    if found.missing or found.wrong:
        raise VerificationError(
            found.problems[0],
            hint="Somebody changed the release. Publish the day's next version; do not roll this one out.",
            details="\n".join(found.problems),
        )
    return record


def read_record(github: GitHub, release: Release, *, repository: str | None = None) -> ReleaseRecord:
    """The record that a release carries; raises VerificationError where it has none, or one of another release.

    Where `repository` is given it must be of that one too: after a renaming, older records are not.
    """
    where = f"the {artifacts.RELEASE} of {release.tag_name}"
    data = _download(github, release, artifacts.RELEASE, "It was not published by this repository's automation.")
    return parse_published(data, where, tag=release.tag_name, repository=repository)


def read_file(github: GitHub, release: Release, asset: AssetRecord) -> bytes:
    """A file of a release, from its record; raises VerificationError where it is gone, or another one."""
    return require_bytes(_download(github, release, asset.name, "Somebody removed it."), asset)


def _download(github: GitHub, release: Release, name: str, hint: str) -> bytes:
    asset = next((asset for asset in release.assets if asset.name == name), None)
    if asset is None:
        raise VerificationError(f"{release.tag_name} has no {name}", hint=hint)
    return github.download(asset)
