"""Which release is a file of, is it intact, what went in, what came after? A name is a claim, and never an answer."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ci.comparison import packages
from ci.github.answers import Pull, Release
from ci.github.client import GitHub
from ci.host.errors import UnknownOriginError, VerificationError
from ci.records import artifacts
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord
from ci.records.version import Version
from ci.release.assets import compare_assets
from ci.release.read_back import newest_release, read_record
from ci.release.rollout import branch_name

SCHEMA = "fountainkit-toolsmith-image/identification/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unidentified:
    """What is asked about, as it was given; only a file has a name and a size."""

    given: str
    sha256: str
    name: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """A published file and its release.

    `intact` tells whether the bytes at hand are the published ones; None where there are none at hand. `also` are
    further releases with the same file.
    """

    record: ReleaseRecord
    file: AssetRecord
    intact: bool | None
    also: tuple[str, ...] = ()

    @property
    def image(self) -> ImageRelease:
        """The image it is about: the one whose file it is, else the one of the manifest."""
        return next((image for image in self.record.images if self.file in image.assets), self.record.image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """What became of a release, as GitHub says today; `pull` rolls it out, `newest` is the newest of all."""

    published: bool
    problems: tuple[str, ...]
    newest: str | None
    pull: Pull | None


def files_of(record: ReleaseRecord) -> tuple[AssetRecord, ...]:
    """All files of a release, its record included."""
    data, folder = record.to_json().encode(), record.ensure_vm.url.rpartition("/")[0]
    own = AssetRecord(
        name=artifacts.RELEASE,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        url=f"{folder}/{artifacts.RELEASE}",
    )
    return (*record.assets, own)


def identify(asked: Unidentified, records: Iterable[ReleaseRecord]) -> Identified | None:
    """The newest release that has it, by its digest; else the one whose file it claims to be by its name."""
    newest_first = sorted(records, key=lambda one: Version.parse(one.tag), reverse=True)
    files = [(record, file) for record in newest_first for file in files_of(record)]
    if same := [pair for pair in files if pair[1].sha256 == asked.sha256]:
        record, file = next((pair for pair in same if pair[1].name == asked.name), same[0])
        also = dict.fromkeys(one.tag for one, _ in same if one is not record)
        return Identified(record=record, file=file, intact=True if asked.name else None, also=tuple(also))
    claimed = [pair for pair in files if pair[1].name == asked.name]
    # Every release has a release.json and an ensure-vm.pyz: such a name claims nothing.
    if len(claimed) == 1 and claimed[0][0].tag in claimed[0][1].name:
        return Identified(record=claimed[0][0], file=claimed[0][1], intact=False)
    return None


def identify_at(github: GitHub, asked: Unidentified, releases: Sequence[Release]) -> Identified | None:
    """The same at GitHub, where the record is a file of the release.

    Raises UnknownOriginError for a release without a record, VerificationError for one that its record contradicts.
    """
    candidates = [release for release in releases if not release.draft and _may_hold(asked, release)]
    for release in candidates:
        if not any(asset.name == artifacts.RELEASE for asset in release.assets):
            raise UnknownOriginError(
                f"it is of {release.html_url}, a release without a record: nothing tells what went in",
                hint="It was not published by this repository's automation, and nobody vouches for it.",
            )
    found = identify(asked, [read_record(github, release) for release in candidates])
    if found is None and any(_holds(asked, release) for release in candidates):
        raise VerificationError(
            f"{candidates[0].html_url} has this file, and its record does not know it",
            hint="Somebody changed the release. Do not use the file.",
        )
    return found


def _may_hold(asked: Unidentified, release: Release) -> bool:
    """Whether its record may know the file: where GitHub tells no digests, only that can tell."""
    untold = any(asset.sha256 is None for asset in release.assets)
    recorded = any(asset.name == artifacts.RELEASE for asset in release.assets)
    return release.version is not None and (_holds(asked, release) or (untold and recorded))


def _holds(asked: Unidentified, release: Release) -> bool:
    named = asked.name is not None and release.tag_name in asked.name
    return any(asset.sha256 == asked.sha256 or (named and asset.name == asked.name) for asset in release.assets)


def look_after(github: GitHub, releases: Sequence[Release], record: ReleaseRecord) -> Aftermath:
    """Ask GitHub what became of a release; `releases` are all that are there."""
    release = next((one for one in releases if one.tag_name == record.tag and not one.draft), None)
    newest, pulls = newest_release(releases), github.pulls(branch_name(record.tag))
    return Aftermath(
        published=release is not None,
        problems=compare_assets(release.assets, files_of(record), github.sha256).problems if release else (),
        newest=newest.tag_name if newest else None,
        pull=next((pull for pull in pulls if pull.merged_at), pulls[0] if pulls else None),
    )


def later(tag: str, tags: Iterable[str]) -> str | None:
    """The newest of `tags`, where it is newer than `tag`."""
    newest = max(map(Version.parse, [tag, *tags]))
    return str(newest) if newest > Version.parse(tag) else None


def rows(
    asked: Unidentified, found: Identified, after: Aftermath | None, superseded_by: str | None
) -> list[Sequence[str]]:
    """What is known, for a table."""
    record, image = found.record, found.image
    base, tested = image.base, image.validation
    boots = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in tested.ssh_seconds.items())
    changes = record.changes if image is record.image else None
    since = f"; since the release before: {packages.summary(changes)}" if changes else ""
    return [
        ("release", f"{record.tag}: {record.url}"),
        *_file_rows(asked, found),
        ("image", f"{image.qcow2.name}, SHA-256 {image.qcow2.sha256}"),
        ("commit", f"{record.commit} of {record.repository}"),
        ("workflow run", record.run or "none: published by hand"),
        ("definition", f"{image.definition}, SHA-256 {image.definition_sha256}"),
        ("base", f"{base.url}, SHA-256 {base.sha256}; {base.vouched_for}"),
        ("packages", f"{image.packages}{since}"),
        ("boot test", f"{tested.passed} passed, {tested.skipped} skipped, with {tested.accelerator}; to SSH: {boots}"),
        ("attestation", _attestation(record, image)),
        ("previous", record.previous.tag if record.previous else "none: the first release"),
        ("superseded by", superseded_by or ("nothing" if after else "nothing in releases/; GitHub was not asked")),
        ("pull request", _pull(record, after)),
        ("at GitHub", _at_github(after)),
    ]


def _attestation(record: ReleaseRecord, image: ImageRelease) -> str:
    """A record only says that there is one; whether it is so, and of these bytes, is asked of `gh` elsewhere."""
    if image.attestation is None:
        return "none, says the record: where it was built is unproven"
    page = f"{record.url.rpartition('/releases/')[0]}/attestations"
    return f"{page}, says the record: not checked here, `python -m ci.verify_release --tag {record.tag}` does"


def _file_rows(asked: Unidentified, found: Identified) -> Iterator[Sequence[str]]:
    yield "file", f"{found.file.name}, {found.file.size} bytes, SHA-256 {found.file.sha256}"
    if found.intact:
        yield "intact", f"yes: {asked.given} has exactly these bytes"
    elif found.intact is not None:
        yield "intact", f"NO: {asked.given} has its name, but {asked.size} bytes with SHA-256 {asked.sha256}"
    if found.also:
        yield "the same file in", ", ".join(found.also)


def _pull(record: ReleaseRecord, after: Aftermath | None) -> str:
    if after is None:
        return f"not asked for; its branch is {branch_name(record.tag)}"
    return f"{after.pull.html_url}, {_state(after.pull)}" if after.pull else "none: it was not rolled out"


def _state(pull: Pull) -> str:
    return "merged" if pull.merged_at else pull.state


def _at_github(after: Aftermath | None) -> str:
    if after is None:
        return "not asked"
    if not after.published:
        return "not published there, or no longer"
    return "; ".join(after.problems) or "published, every file as the record says"


def document(
    asked: Unidentified, found: Identified, after: Aftermath | None, superseded_by: str | None
) -> dict[str, Any]:
    """The same for programs; what is not known is null."""
    pull = after.pull if after else None
    return {
        "schema": SCHEMA,
        "given": asked.given,
        "sha256": asked.sha256,
        "tag": found.record.tag,
        "file": found.file.model_dump(mode="json"),
        "intact": found.intact,
        "also_in": list(found.also),
        "image": found.image.qcow2.name,
        "superseded_by": superseded_by,
        "pull_request": {"url": pull.html_url, "state": _state(pull)} if pull else None,
        "published": after.published if after else None,
        "differences": list(after.problems) if after else None,
        "record": found.record.model_dump(mode="json", by_alias=True),
    }


def unknown(asked: Unidentified, repository: str | None) -> UnknownOriginError:
    """What to say where nothing was found; `repository` is the one that was asked, if any."""
    what = f"{asked.given} (SHA-256 {asked.sha256})" if asked.name else asked.given
    if repository:
        return UnknownOriginError(
            f"no release of {repository} knows {what}",
            hint="It may be of another repository (--repository), changed on the way, or never released.",
        )
    return UnknownOriginError(
        f"no record in releases/ knows {what}", hint="Name the repository to ask for it: --repository OWNER/NAME"
    )


def require_intact(asked: Unidentified, found: Identified, after: Aftermath | None) -> None:
    """Raise VerificationError where the bytes, or the release, are not what was published."""
    tag = found.record.tag
    if found.intact is False:
        raise VerificationError(
            f"{asked.given} is not the file that {tag} published under this name: its SHA-256 is {asked.sha256}, "
            f"published was {found.file.sha256}",
            hint="A download may have broken off, or somebody changed it. Fetch it again, and do not use this one.",
        )
    if after is not None and after.problems:
        raise VerificationError(
            f"the release {tag} is not what its record says: {after.problems[0]}",
            hint="Somebody changed the release, or the record. Do not use what differs.",
            details="\n".join(after.problems),
        )
