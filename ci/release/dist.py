"""What the earlier stages left in `dist/`, trusted no further than its digests go."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import InputError, RefusedError, VerificationError, toolsmith
from ci.host.files import sha256_file
from ci.records import artifacts
from ci.records.build import BuildRecord, Verification
from ci.records.packages import Package, parse_packages
from ci.records.record import read_record
from ci.records.sbom import read_sbom
from ci.records.validation import Outcome, ValidationReport
from ci.records.version import Version

# GitHub takes assets under 2 GiB and answers larger ones with a bare status 500.
# https://docs.github.com/en/repositories/releasing-projects-on-github/about-releases#storage-and-bandwidth-quotas
ASSET_LIMIT = (2 << 30) - (1 << 20)

# The files of one image, by what follows its stem.
REQUIRED = (
    artifacts.IMAGE,
    artifacts.CHECKSUM,
    artifacts.PACKAGES,
    artifacts.SBOM,
    artifacts.BUILD,
    artifacts.REPORT,
    artifacts.REPORT_JUNIT,
    artifacts.REPORT_MARKDOWN,
    artifacts.SCREENSHOT,
)

# What a report must speak of to be one of the whole boot test.
BOOTS = frozenset({"full", "clone", "consumer", "seed"})
IDENTITY_CHECK = "image-json"

_DISTRIBUTION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file to publish, as it was when it was read; `size` in bytes."""

    path: Path
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedImage:
    """An image with everything that speaks for it."""

    __test__ = False  # it is no test, whatever pytest thinks of its name

    build: BuildRecord
    report: ValidationReport
    packages: tuple[Package, ...]
    files: tuple[LocalFile, ...]

    @property
    def qcow2(self) -> LocalFile:
        return next(file for file in self.files if file.name == self.build.image.file)


def read_dist(folder: Path, *, version: Version | None, allow_dirty: bool = False) -> tuple[TestedImage, ...]:
    """The images of one version in `folder`, each whole, tested and of one commit; sorted by name.

    Without a version there must be one only. Raises InputError where something is missing or malformed,
    VerificationError where bytes are not what a record says, RefusedError where a record says no.
    """
    records = [(path, read_record(path, BuildRecord)) for path in sorted(folder.glob(f"*{artifacts.BUILD}"))]
    chosen = _of_version(folder, records, version)
    images = tuple(_read_image(path, build, allow_dirty=allow_dirty) for path, build in chosen)
    commits = {image.build.commit for image in images}
    if len(commits) > 1:
        raise RefusedError(
            f"the images in {folder} are of different commits: {', '.join(sorted(commits))}",
            hint="Build them all from the commit that is to be released.",
        )
    return images


def _of_version(
    folder: Path, records: list[tuple[Path, BuildRecord]], version: Version | None
) -> list[tuple[Path, BuildRecord]]:
    if not records:
        raise InputError(f"there is no build in {folder}", hint="`make image` builds one; --dist names another folder.")
    versions = {record.version for _, record in records}
    if version is None and len(versions) > 1:
        raise InputError(f"{folder} has builds of {', '.join(sorted(versions))}", hint="Choose one with --tag.")
    wanted = str(version) if version else versions.pop()
    chosen = [(path, record) for path, record in records if record.version == wanted]
    if not chosen:
        raise RefusedError(
            f"the tag is {wanted}, the build in {folder} is {', '.join(sorted(versions))}",
            hint=f"Build with IMAGE_VERSION={wanted}: the image carries its version inside, and must agree.",
        )
    Version.parse(wanted)
    return chosen


def _read_image(path: Path, build: BuildRecord, *, allow_dirty: bool) -> TestedImage:
    stem = _stem(path, build)
    _refuse_build(build, allow_dirty=allow_dirty)
    files = _files(path.parent, stem)
    report = read_record(files[artifacts.REPORT].path, ValidationReport)
    listed = files[artifacts.PACKAGES]
    packages = parse_packages(listed.path.read_bytes(), listed.name)
    _verify_image(files[artifacts.IMAGE], build, report)
    _refuse_report(build, report)
    line = f"{build.image.sha256}  {build.image.file}\n"
    if files[artifacts.CHECKSUM].path.read_bytes() != line.encode():
        raise VerificationError(
            f"{stem}.qcow2.sha256 does not hold the image's digest", hint="Build and test it again; nothing else helps."
        )
    if len(packages) != build.packages:
        raise VerificationError(
            f"{stem}.packages.tsv has {len(packages)} packages, the build record says {build.packages}",
            hint="One of the two was altered. Build and test it again.",
        )
    read_sbom(files[artifacts.SBOM].path, image_sha256=build.image.sha256)
    return TestedImage(build=build, report=report, packages=packages, files=tuple(files.values()))


def _stem(path: Path, build: BuildRecord) -> str:
    """The name all files share. A record may come from anywhere: what it names must be what its own name says."""
    stem = path.name.removesuffix(artifacts.BUILD)
    expected = f"fountainkit-toolsmith-{build.distribution}-{build.version}"
    if (
        not _DISTRIBUTION.fullmatch(build.distribution)
        or {stem, build.name, build.image.file.removesuffix(artifacts.IMAGE)} != {expected}
        or not build.image.file.endswith(artifacts.IMAGE)
    ):
        raise InputError(
            f"{path} is not the record of {expected}: it names {build.name!r} and {build.image.file!r}",
            hint="Records and images belong together; build and test again instead of renaming.",
        )
    return stem


def _refuse_build(build: BuildRecord, *, allow_dirty: bool) -> None:
    if build.base.verification is Verification.NONE:
        raise RefusedError(
            f"nothing vouches for the base of {build.name}: {build.base.url}",
            hint="Build with BASE_IMAGE_SHA256, or from a base with signed checksums.",
        )
    if build.dirty and not allow_dirty:
        raise RefusedError(
            f"{build.name} was built from a checkout with changes that are in no commit",
            hint="Commit, build and test again: a release must be traceable to a commit.",
        )
    if build.image.size > ASSET_LIMIT:
        raise RefusedError(
            f"{build.image.file} has {build.image.size} bytes; GitHub takes assets under 2 GiB",
            hint="Make it smaller: docs/definitions.md, `packages`.",
        )


def _files(folder: Path, stem: str) -> dict[str, LocalFile]:
    """The files of an image, by what follows the stem."""
    paths = {ending: folder / f"{stem}{ending}" for ending in REQUIRED}
    if missing := [path.name for path in paths.values() if not path.is_file()]:
        raise InputError(
            f"{folder} lacks {', '.join(missing)}",
            hint=f"`{toolsmith('validate')}` writes the validation's files; the rest comes from the build.",
        )
    return {ending: local_file(path) for ending, path in paths.items()}


def local_file(path: Path) -> LocalFile:
    """A file as it is now."""
    return LocalFile(path=path, size=path.stat().st_size, sha256=sha256_file(path))


def _verify_image(image: LocalFile, build: BuildRecord, report: ValidationReport) -> None:
    if (image.sha256, image.size) != (build.image.sha256, build.image.size):
        raise VerificationError(
            f"{image.name} is not the file that was built: its SHA-256 is {image.sha256}, the build record has "
            f"{build.image.sha256}",
            hint="Something wrote to it, or a copy broke. Build and test it again.",
        )
    if (report.image, report.image_sha256, report.version) != (image.name, image.sha256, build.version):
        raise VerificationError(
            f"the boot test was of {report.image} {report.version} with SHA-256 {report.image_sha256}, "
            f"not of this {image.name}",
            hint=f"Test these bytes: {toolsmith('validate', os.fspath(image.path))}",
        )


def _refuse_report(build: BuildRecord, report: ValidationReport) -> None:
    failed = sorted({check.id for check in report.checks if check.outcome is Outcome.FAILED})
    missing = sorted(BOOTS - {boot.name for boot in report.boots})
    if failed or not report.passed:
        reason = f"failed {', '.join(failed) or 'as a whole'}"
    elif missing:
        reason = f"lacks {', '.join(missing)}"
    elif (IDENTITY_CHECK, Outcome.PASSED) not in {(check.id, check.outcome) for check in report.checks}:
        reason = "did not compare the image's own version and commit with the build record"
    else:
        return
    raise RefusedError(
        f"{build.name} has not passed its boot test: it {reason}",
        hint="Read the validation report; docs/validation.md says what each check guards.",
    )
