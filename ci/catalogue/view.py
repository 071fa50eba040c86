"""What the catalogue shows of each release: the records, put as its pages need them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from ci.catalogue import figures
from ci.records.build import BaseImageRecord, Verification
from ci.records.packages import PackageDiff
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord, ValidationSummary, manifest_snippet
from ci.records.version import Version

# The boot whose time is shown: as a consumer starts the image. Where it was not made, the one with everything checked.
BOOTS = ("consumer", "full")
MOST_PACKAGES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """How soon SSH answered. `emulated` tells that no KVM helped, so that the two kinds are not compared."""

    name: str
    seconds: float
    accelerator: str

    @property
    def emulated(self) -> bool:
        return self.accelerator != "kvm"

    @property
    def how(self) -> str:
        """The circumstances, in words."""
        return {"kvm": "with KVM", "tcg": "without KVM"}.get(self.accelerator, self.accelerator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The base image; `link` is None where it has no address to follow."""

    url: str
    link: str | None
    sha256: str
    verified: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a release."""

    name: str
    link: str | None
    sha256: str
    size: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image of a release; `size_change` is None where there is nothing to compare with.

    `signed` is what its attestation claims, None where it has none.
    """

    name: str
    distribution: str
    kernel: str
    packages: int
    size: int
    size_change: str | None
    boot: Boot | None
    checks: str
    base: Base
    signed: str | None
    signed_link: str | None
    qcow2: File
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRow:
    """A package that changed; `old` or `new` is empty where there was none."""

    what: str
    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What became of the packages: `counts` by kind; at most MOST_PACKAGES `rows`, `more` that are left out."""

    counts: tuple[str, ...]
    rows: tuple[PackageRow, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release. `previous` is the tag it is compared with, `changes` None where nothing could be compared."""

    tag: str
    version: Version
    built_at: datetime
    latest: bool
    repository: str
    link: str | None
    commit: str
    commit_link: str | None
    run_link: str | None
    previous: str | None
    changes: Changes | None
    image: Image
    others: tuple[Image, ...]
    ensure_vm: File
    snippet: str


def releases(records: Sequence[ReleaseRecord]) -> tuple[Release, ...]:
    """What is shown of the records, which come newest first."""
    return tuple(_release(record, latest=number == 0) for number, record in enumerate(records))


def _release(record: ReleaseRecord, *, latest: bool) -> Release:
    previous = record.previous
    comparable = previous is not None and previous.name == record.image.name
    return Release(
        tag=record.tag,
        version=Version.parse(record.tag),
        built_at=record.image.built_at.astimezone(UTC),
        latest=latest,
        repository=record.repository,
        link=figures.safe_link(record.url),
        commit=record.commit,
        commit_link=_commit_link(record),
        run_link=figures.safe_link(record.run) if record.run else None,
        previous=previous.tag if previous else None,
        changes=_changes(record.changes) if record.changes else None,
        image=_image(record.image, previous.qcow2_size if previous and comparable else None),
        others=tuple(_image(other, None) for other in record.others),
        ensure_vm=_file(record.ensure_vm),
        snippet=manifest_snippet(record),
    )


def _commit_link(record: ReleaseRecord) -> str | None:
    """The commit's page, from the release's; None where that is not where GitHub has it."""
    site, found, _ = record.url.rpartition(f"/{record.repository}/releases/")
    return figures.safe_link(f"{site}/{record.repository}/commit/{record.commit}") if found else None


def _image(image: ImageRelease, previous_size: int | None) -> Image:
    return Image(
        name=image.name,
        distribution=image.distribution,
        kernel=image.kernel,
        packages=image.packages,
        size=image.qcow2.size,
        size_change=None if previous_size is None else figures.change(image.qcow2.size - previous_size),
        boot=_boot(image.validation),
        checks=_checks(image.validation),
        base=_base(image.base),
        signed=", ".join(image.attestation.predicates) if image.attestation else None,
        signed_link=figures.safe_link(image.attestation.url) if image.attestation else None,
        qcow2=_file(image.qcow2),
        files=tuple(_file(asset) for asset in image.assets),
    )


def _boot(validation: ValidationSummary) -> Boot | None:
    times = validation.ssh_seconds
    if not times:
        return None
    name = next(boot for boot in (*BOOTS, *sorted(times)) if boot in times)
    return Boot(name=name, seconds=times[name], accelerator=validation.accelerator)


def _checks(validation: ValidationSummary) -> str:
    skipped = f", {validation.skipped} skipped" if validation.skipped else ""
    return f"{validation.passed} passed{skipped}"


def _base(base: BaseImageRecord) -> Base:
    return Base(
        url=base.url, link=figures.safe_link(base.url), sha256=base.sha256, verified=_vouched_for(base.verification)
    )


def _vouched_for(verification: Verification) -> str:
    match verification:
        case Verification.PINNED_DIGEST:
            return "its digest is pinned"
        case Verification.SIGNED_CHECKSUMS:
            return "its checksums are signed"
        case Verification.SIGNED_PACKAGES:
            return "made from signed packages"
        case Verification.NONE:
            return "not verified"
        case _:
            assert_never(verification)


def _file(asset: AssetRecord) -> File:
    return File(name=asset.name, link=figures.safe_link(asset.url), sha256=asset.sha256, size=figures.size(asset.size))


def _changes(diff: PackageDiff) -> Changes:
    kinds = {"upgraded": diff.upgraded, "added": diff.added, "removed": diff.removed, "downgraded": diff.downgraded}
    rows = tuple(_rows(diff))
    return Changes(
        counts=tuple(f"{len(packages):,} {what}" for what, packages in kinds.items() if packages),
        rows=rows[:MOST_PACKAGES],
        more=max(0, len(rows) - MOST_PACKAGES),
    )


def _rows(diff: PackageDiff) -> Iterator[PackageRow]:
    for one in diff.added:
        yield PackageRow(what="added", name=one.name, old="", new=one.version)
    for one in diff.removed:
        yield PackageRow(what="removed", name=one.name, old=one.version, new="")
    for what, changed in (("downgraded", diff.downgraded), ("upgraded", diff.upgraded)):
        for pair in changed:
            yield PackageRow(what=what, name=pair.new.name, old=pair.old.version, new=pair.new.version)
