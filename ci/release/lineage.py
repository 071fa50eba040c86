"""What became of a release since it was published, and what is to be told of it: as rows for people, as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ci.comparison import packages
from ci.github.answers import UPLOADED, Pull, Release
from ci.github.client import GitHub
from ci.records import artifacts
from ci.records.build import Verification
from ci.records.packages import PackageDiff
from ci.records.release import ImageRelease, ReleaseRecord
from ci.records.version import Version
from ci.release.origin import KnownRecord, Origin, Subject
from ci.release.rollout import branch_name

SCHEMA = "fountainkit-toolsmith-image/trace/1"

VERIFIED_BY = {
    Verification.PINNED_DIGEST: "its digest is pinned: {by}",
    Verification.SIGNED_CHECKSUMS: "its checksums are signed by {by}",
    Verification.SIGNED_PACKAGES: "its packages are signed: {by}",
    Verification.NONE: "nothing vouches for it",
}

Row = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What GitHub says today. `differences` are between the published files and the record; `pull` rolls it out."""

    published: bool
    differences: tuple[str, ...]
    newest: str | None
    pull: Pull | None


def look(github: GitHub, releases: Sequence[Release], known: KnownRecord) -> Fate:
    """Ask GitHub about a release; `releases` are all that are there."""
    public = [release for release in releases if not release.draft]
    release = next((one for one in public if one.tag_name == known.record.tag), None)
    pulls = github.pulls(branch_name(known.record.tag))
    return Fate(
        published=release is not None,
        differences=tuple(_differences(known, release)) if release else (),
        newest=newest(known.record.tag, [one.tag_name for one in public if one.version]),
        pull=next((pull for pull in pulls if pull.merged_at), pulls[0] if pulls else None),
    )


def newest(tag: str, tags: Sequence[str]) -> str | None:
    """The newest version of `tags` that is above `tag`; None where there is none."""
    above = [version for version in map(Version.parse, tags) if version > Version.parse(tag)]
    return str(max(above)) if above else None


def _differences(known: KnownRecord, release: Release) -> Iterator[str]:
    there = {asset.name: asset for asset in release.assets}
    for file in known.files:
        asset = there.get(file.name)
        if asset is None or asset.state != UPLOADED:
            yield f"{file.name} is missing"
        elif asset.size != file.size or asset.sha256 not in {None, file.sha256}:
            yield f"{file.name} has {asset.size} bytes and SHA-256 {asset.sha256}, not {file.size} and {file.sha256}"
    yield from (f"{name} is not in the record" for name in sorted(there.keys() - {file.name for file in known.files}))


def rows(subject: Subject, origin: Origin, fate: Fate | None, superseded_by: str | None) -> list[Row]:
    """What is known, for a table."""
    record, image = origin.known.record, origin.image
    return [
        ("release", f"{record.tag}: {record.url}"),
        *_file_rows(subject, origin),
        ("image", f"{image.qcow2.name}, SHA-256 {image.qcow2.sha256}"),
        ("commit", f"{record.commit} of {record.repository}"),
        ("workflow run", record.run or "none: published by hand"),
        ("base", f"{image.base.url}, SHA-256 {image.base.sha256}"),
        ("base verified", VERIFIED_BY[image.base.verification].format(by=image.base.verified_by)),
        ("definition", f"{image.definition}, SHA-256 {image.definition_sha256}"),
        ("packages", _packages(record, image)),
        ("kernel", image.kernel),
        *(
            (f"all {what}", _url(image, ending))
            for what, ending in (("packages", artifacts.PACKAGES), ("contents", artifacts.SBOM))
        ),
        ("boot test", _boot_test(image)),
        ("report", _url(image, artifacts.REPORT_MARKDOWN)),
        ("attestation", _attestation(record, image)),
        ("previous", f"{record.previous.tag}: {record.previous.url}" if record.previous else "none: the first release"),
        ("superseded by", superseded_by or _nothing_newer(fate)),
        ("pull request", _pull(record, fate)),
        ("at GitHub", _at_github(fate)),
        ("record", origin.known.where),
    ]


def _file_rows(subject: Subject, origin: Origin) -> Iterator[Row]:
    file = origin.file
    if file is None:
        return
    yield "file", f"{file.name}, {file.size} bytes, SHA-256 {file.sha256}"
    if origin.intact:
        yield "intact", f"yes: {subject.given} has exactly these bytes"
    elif origin.intact is not None:
        yield "intact", f"NO: {subject.given} has its name, but {subject.size} bytes with SHA-256 {subject.sha256}"
    if origin.also:
        yield "the same file in", ", ".join(origin.also)


def _packages(record: ReleaseRecord, image: ImageRelease) -> str:
    changes: PackageDiff | None = record.changes if image is record.image else None
    return f"{image.packages}" + (f"; since the release before: {packages.summary(changes)}" if changes else "")


def _url(image: ImageRelease, ending: str) -> str:
    return next((asset.url for asset in image.assets if asset.name.endswith(ending)), "none")


def _boot_test(image: ImageRelease) -> str:
    summary = image.validation
    boots = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary.ssh_seconds.items())
    return f"{summary.passed} passed, {summary.skipped} skipped, with {summary.accelerator}; start to SSH: {boots}"


def _attestation(record: ReleaseRecord, image: ImageRelease) -> str:
    if image.attestation is None:
        return "none"
    return f"{image.attestation.url}; gh attestation verify {image.qcow2.name} --repo {record.repository}"


def _nothing_newer(fate: Fate | None) -> str:
    return "no release in releases/; GitHub was not asked" if fate is None else "nothing: it is the newest release"


def _pull(record: ReleaseRecord, fate: Fate | None) -> str:
    if fate is None:
        return f"not asked for; its branch is {branch_name(record.tag)}"
    if fate.pull is None:
        return "none: it was not rolled out"
    return f"{fate.pull.html_url}, {_state(fate.pull)}"


def _state(pull: Pull) -> str:
    return "merged" if pull.merged_at else pull.state


def _at_github(fate: Fate | None) -> str:
    if fate is None:
        return "not asked"
    if not fate.published:
        return "not published there, or no longer"
    return "; ".join(fate.differences) or "published, every file as the record says"


def document(subject: Subject, origin: Origin, fate: Fate | None, superseded_by: str | None) -> dict[str, Any]:
    """The same for programs; what is not known is null."""
    pull = fate.pull if fate else None
    return {
        "schema": SCHEMA,
        "subject": {
            "kind": subject.kind.value,
            "given": subject.given,
            "sha256": subject.sha256,
            "size": subject.size,
        },
        "tag": origin.known.record.tag,
        "file": origin.file.model_dump(mode="json") if origin.file else None,
        "intact": origin.intact,
        "also_in": list(origin.also),
        "image": origin.image.qcow2.name,
        "superseded_by": superseded_by,
        "pull_request": {"url": pull.html_url, "state": _state(pull)} if pull else None,
        "published": fate.published if fate else None,
        "differences": list(fate.differences) if fate else None,
        "record_from": origin.known.where,
        "record": origin.known.record.model_dump(mode="json", by_alias=True),
    }
