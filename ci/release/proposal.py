"""From tested images to what is published: the release record, the notes, the list of files."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from ci.comparison.packages import compare
from ci.fetch.source import AbsentError
from ci.github.answers import Release
from ci.github.client import GitHub
from ci.github.context import Context
from ci.host.errors import (
    AccessError,
    InputError,
    RefusedError,
    RejectedError,
    RemoteError,
    UnprovenError,
    VerificationError,
)
from ci.host.files import write_atomic
from ci.image.picture import largest_packages
from ci.records import artifacts
from ci.records.packages import PackageDiff, parse_packages
from ci.records.release import (
    AssetRecord,
    AttestationRecord,
    ImageRelease,
    ReleaseFacts,
    ReleaseRecord,
    SizePart,
    ValidationSummary,
    whole_manifest,
)
from ci.records.validation import Outcome
from ci.records.version import Version
from ci.release import notes
from ci.release.dist import LocalFile, TestedImage, local_file, read_dist
from ci.release.notes import MergedPull
from ci.release.publish import Proposal
from ci.release.read_back import newest_release, read_file, read_record
from ci.release.state import section

# A line of GitHub's own notes, such as those of https://github.com/cli/cli/releases.
_MERGED = re.compile(r"^\* (.+) by @\S+ in \S+/pull/(\d{1,9})\r?$", re.MULTILINE | re.ASCII)
# What actions/attest signs in the release workflow: where an image was built, and what is in it.
PREDICATES = ("https://slsa.dev/provenance/v1", "https://cyclonedx.org/bom")


def read_images(
    folder: Path, version: Version | None, primary: str, context: Context, *, allow_dirty: bool = False
) -> tuple[tuple[TestedImage, ...], str]:
    """The images in `folder` that this run may release, the one of the definition `primary` first, and their commit."""
    images = primary_first(read_dist(folder, version=version, allow_dirty=allow_dirty), primary)
    return images, check_commit(images, context)


def primary_first(images: Sequence[TestedImage], definition: str) -> tuple[TestedImage, ...]:
    """The image the manifest will point to, then the others. A single image is the primary, whatever it is."""
    built = [image.build.definition for image in images]
    if len(images) > 1 and definition not in built:
        raise InputError(
            f"there is no build of '{definition}' among {', '.join(built)}", hint="Choose one with --image."
        )
    return tuple(sorted(images, key=lambda image: image.build.definition != definition))


def check_commit(images: Sequence[TestedImage], context: Context) -> str:
    """The commit the images are of; raises RefusedError where the workflow runs for another one."""
    commit = images[0].build.commit
    if context.commit is not None and context.commit != commit:
        raise RefusedError(
            f"the images were built from {commit}, this run is for {context.commit}",
            hint="Build in the run that releases, or resume the run that built.",
        )
    if len(commit) != 40:
        raise RefusedError(
            f"the images were built from an unknown commit ({commit})", hint="Build in a git checkout, not an archive."
        )
    return commit


def make_record(
    github: GitHub,
    releases: Sequence[Release],
    images: Sequence[TestedImage],
    ensure_vm: LocalFile,
    *,
    run: str | None,
    attested: bool,
) -> ReleaseRecord:
    """The record of what is to be released on top of the earlier `releases`; made again, it is the same to the byte."""
    previous, changes = read_previous(github, releases, images[0])
    return release_record(
        github.context, images, ensure_vm, previous=previous, changes=changes, run=run, attested=attested
    )  # fmt: skip


def release_record(
    context: Context,
    images: Sequence[TestedImage],
    ensure_vm: LocalFile,
    *,
    previous: ReleaseFacts | None,
    changes: PackageDiff | None,
    run: str | None,
    attested: bool,
) -> ReleaseRecord:
    """What `release.json` will say of `images`, the manifest's first, and of the consumer's tool.

    `attested` tells whether the images have attestations.
    """
    tag, (image, *others) = images[0].build.version, images
    record = ReleaseRecord(
        tag=tag,
        repository=context.repository,
        url=context.release_url(tag),
        commit=image.build.commit,
        run=run,
        previous=previous,
        changes=changes,
        image=_image_release(context, tag, image, attested=attested),
        others=[_image_release(context, tag, other, attested=attested) for other in others],
        ensure_vm=_asset_record(context, tag, ensure_vm),
    )
    snippet = whole_manifest(record, "file").encode()
    url, sha256 = context.asset_url(tag, artifacts.SNIPPET), hashlib.sha256(snippet).hexdigest()
    made = AssetRecord(name=artifacts.SNIPPET, sha256=sha256, size=len(snippet), url=url)
    return record.model_copy(update={"snippet": made})


def _asset_record(context: Context, tag: str, file: LocalFile) -> AssetRecord:
    return AssetRecord(name=file.name, sha256=file.sha256, size=file.size, url=context.asset_url(tag, file.name))


def _image_release(context: Context, tag: str, image: TestedImage, *, attested: bool) -> ImageRelease:
    assets = [_asset_record(context, tag, file) for file in image.files]
    build, report = image.build, image.report
    attestation = AttestationRecord(url=context.attestation_url(build.image.sha256), predicates=list(PREDICATES))
    return ImageRelease(
        name=build.name.removesuffix(f"-{build.version}"),
        definition=build.definition,
        definition_sha256=build.definition_sha256,
        inputs=build.inputs,
        distribution=build.distribution,
        built_at=build.built_at,
        base=build.base,
        kernel=build.kernel,
        packages=build.packages,
        qcow2=next(asset for asset in assets if asset.name == build.image.file),
        virtual_size=build.image.virtual_size,
        assets=assets,
        validation=ValidationSummary(
            passed=sum(check.outcome is Outcome.PASSED for check in report.checks),
            skipped=sum(check.outcome is Outcome.SKIPPED for check in report.checks),
            accelerator=report.accelerator,
            ssh_seconds={boot.name: boot.ssh_seconds for boot in report.boots if boot.ssh_seconds is not None},
            start=next((boot.start for boot in report.boots if boot.start), ()),
        ),
        largest=tuple(SizePart(name=name, kib=kib) for name, kib in largest_packages(image.packages)),
        attestation=attestation if attested else None,
    )


def read_previous(
    github: GitHub, releases: Sequence[Release], image: TestedImage
) -> tuple[ReleaseFacts | None, PackageDiff | None]:
    """What the release before was, and how `image`'s packages differ from its.

    A release that this automation did not make has no record; then nothing is compared, and it is said.
    """
    release = newest_release(releases, below=Version.parse(image.build.version))
    if release is None:
        return None, None
    try:
        record = read_record(github, release)
        listed = next(
            (one.file(artifacts.PACKAGES) for one in record.images if one.distribution == image.build.distribution),
            None,
        )
        packages = parse_packages(read_file(github, release, listed), listed.name) if listed else None
    except (VerificationError, UnprovenError, InputError, AbsentError) as problem:
        github.reporter.warn(f"{release.tag_name} cannot be compared with: {problem}")
        return None, None
    return ReleaseFacts.of(record), None if packages is None else compare(packages, image.packages)


def merged_pulls(
    github: GitHub, releases: Sequence[Release], record: ReleaseRecord, *, tagged: bool
) -> tuple[MergedPull, ...] | None:
    """What was merged since the release before; None where that was not to be had, which fails no release.

    Of a release that is public nobody asks any more: its text is as it is.
    """
    public = any(release.tag_name == record.tag and not release.draft for release in releases)
    if record.previous is None or public:
        return ()
    if github.context.token is None:
        return None
    target = None if tagged else record.commit
    try:
        body = github.generated_notes(record.tag, record.previous.tag, target=target)
    except (AbsentError, AccessError, RejectedError, RemoteError) as failure:
        github.reporter.warn(f"The notes go without the titles of pull requests: {failure}")
        return None
    return tuple(MergedPull(title=title, number=int(number)) for title, number in _MERGED.findall(body))


def make_proposal(
    record: ReleaseRecord,
    images: Sequence[TestedImage],
    others: Sequence[LocalFile],
    *,
    merged: tuple[MergedPull, ...] | None = (),
    latest: bool,
    tagged: bool,
) -> Proposal:
    """List everything in the order of its upload: the manifest's image, and what can fail, first."""
    return Proposal(
        tag=record.tag,
        commit=record.commit,
        body=section(record.commit, notes.release_notes(record, merged)),
        latest=latest,
        tagged=tagged,
        files=(*(file for image in images for file in image.files), *others),
    )


def write_own_files(record: ReleaseRecord, folder: Path) -> tuple[LocalFile, LocalFile]:
    """Write `manifest-snippet.json` and `release.json`."""
    write_atomic(folder / artifacts.SNIPPET, whole_manifest(record, "file"))
    record.write(folder / artifacts.RELEASE)
    return local_file(folder / artifacts.SNIPPET), local_file(folder / artifacts.RELEASE)
