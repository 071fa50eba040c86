"""Reading published releases back, as anybody could: their records, and whether their assets are what those say."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ci.github.answers import Release
from ci.github.client import GitHub
from ci.github.context import Context
from ci.host.errors import RefusedError, UnprovenError, VerificationError, toolsmith
from ci.records import artifacts
from ci.records.published import parse_published, require_bytes
from ci.records.release import AssetRecord, ReleaseRecord
from ci.records.version import Version
from ci.release.assets import compare_assets


def newest_release(releases: Iterable[Release], *, below: Version | None = None) -> Release | None:
    """The published release with the highest version, of those `below` one; None where there is none.

    A pre-release does not count: no consumer was ever moved to it, and GitHub takes none for the latest.
    """
    full = (one for one in releases if not one.draft and not one.prerelease)
    published = {version: one for one in full if (version := one.version)}
    older = [version for version in published if below is None or version < below]
    return published[max(older)] if older else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRelease:
    """A release that is what was published; `text` is its `record` as it is there."""

    release: Release
    record: ReleaseRecord
    text: str

    def at_home(self, context: Context) -> ReleaseRecord:
        """The record with each address of its repository as it is today: it may have been renamed since."""
        if self.record.repository == context.repository:
            return self.record
        former, now = (f'"{context.server_url}/{name}/' for name in (self.record.repository, context.repository))
        moved = self.record.to_json().replace(former, now)
        return ReleaseRecord.model_validate(json.loads(moved) | {"repository": context.repository})


def read_published(
    github: GitHub, tag: str, vouch: Callable[[bytes, ReleaseRecord], None], *, prerelease: bool = False
) -> PublishedRelease:
    """A published release of this repository whose tag and assets are all what its record says.

    One that a person marked as a pre-release is refused, if not `prerelease`.

    `vouch` raises unless the record is the one that was published: anybody who may edit the release may replace it.
    Raises RefusedError where it is not published, VerificationError where something differs, UnprovenError where the
    record's repository has a name that leads nowhere.
    """
    release = _published(github, tag, prerelease=prerelease)
    data = _download(github, release, artifacts.RELEASE, "It was not published by this repository's automation.")
    record = _own_record(github, data, release)
    vouch(data, record)
    _require_tag(github, record)
    found = compare_assets(release.assets, record.assets, github.sha256)
    if found.missing or found.wrong:
        raise VerificationError(
            found.problems[0],
            hint="Somebody changed the release. Publish the day's next version; do not roll this one out.",
            details="\n".join(found.problems),
        )
    return PublishedRelease(release=release, record=record, text=data.decode())


def require_unchanged(github: GitHub, before: PublishedRelease) -> None:
    """Raise RefusedError or VerificationError where tag or assets are no longer what was read."""
    now = _published(github, before.record.tag, prerelease=before.release.prerelease)
    if (now.id, _content(now)) != (before.release.id, _content(before.release)):
        raise VerificationError(
            f"the release {before.record.tag} changed while it was rolled out", hint="Find out who changed it, and why."
        )
    _require_tag(github, before.record)


def _content(release: Release) -> set[tuple[object, ...]]:
    return {(asset.id, asset.name, asset.state, asset.size, asset.digest) for asset in release.assets}


def _published(github: GitHub, tag: str, *, prerelease: bool) -> Release:
    release = github.published_release(tag)
    if release is None or release.draft:
        raise RefusedError(f"{tag} is not published", hint=f"`{toolsmith('publish', '--tag', tag)}` does that.")
    if release.prerelease and not prerelease:
        raise RefusedError(
            f"{tag} is marked as a pre-release, so that nobody is moved to it",
            hint=f"Take the mark off at {release.html_url}; --reopen rolls it out all the same.",
        )
    return release


def _require_tag(github: GitHub, record: ReleaseRecord) -> None:
    if (commit := github.tag_commit(record.tag)) != record.commit:
        where = f"the tag {record.tag} is on commit {commit}" if commit else f"there is no tag {record.tag}"
        raise VerificationError(
            f"{where}, and its release was made of {record.commit}",
            hint="Somebody moved or deleted the tag. Put it back, or publish the day's next version.",
        )


def _own_record(github: GitHub, data: bytes, release: Release) -> ReleaseRecord:
    record = parse_published(data, _where(release), tag=release.tag_name)
    ours = github.is_called(record.repository) if record.server == github.context.server_url else False
    if ours is None:
        raise UnprovenError(
            _where(release),
            f"it speaks of {record.repository}, and that name leads nowhere today",
            hint=f"Was {github.context.repository} called so? Publish the day's next version, under its present name.",
        )
    if not ours:
        raise VerificationError(
            f"{_where(release)} speaks of {record.url}, which is not of {github.context.repository}",
            hint="Do not use this release.",
        )
    return record


def read_record(github: GitHub, release: Release) -> ReleaseRecord:
    """The record that a release carries; raises VerificationError where it has none, or one of another release.

    Raises UnprovenError where its repository has a name that leads nowhere.

    It is of this repository, by whatever name: its addresses are shown to people.
    """
    data = _download(github, release, artifacts.RELEASE, "It was not published by this repository's automation.")
    return _own_record(github, data, release)


def _where(release: Release) -> str:
    return f"the {artifacts.RELEASE} of {release.tag_name}"


def read_file(github: GitHub, release: Release, asset: AssetRecord) -> bytes:
    """A file of a release, from its record; raises VerificationError where it is gone, or another one."""
    return require_bytes(_download(github, release, asset.name, "Somebody removed it."), asset)


def _download(github: GitHub, release: Release, name: str, hint: str) -> bytes:
    asset = next((asset for asset in release.assets if asset.name == name), None)
    if asset is None:
        raise VerificationError(f"{release.tag_name} has no {name}", hint=hint)
    return github.download(asset)
