"""Is what a release promises what anybody gets? Compares the manifest, the record, the checksum and the bytes.

Of the other files, the SBOM and the consumer's tool: what people act upon, and run.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ci.consume.hydrate import Means
from ci.consume.wanted import Wanted
from ci.fetch.download import download, read_url
from ci.fetch.source import public_url
from ci.host.errors import FetchError, InputError, ToolError, VerificationError
from ci.host.process import Argument, find_tool, run
from ci.records import artifacts
from ci.records.record import parse_record
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord
from ci.records.sbom import read_sbom

SBOM_PREDICATE = "https://cyclonedx.org/bom"
LARGEST_TEXT = 16 << 20
LARGEST_FILE = 64 << 20
GH_SECONDS = 300
# https://cli.github.com/manual/gh_help_exit-codes
GH_NEEDS_LOGIN = 4

_RELEASE = re.compile(r"/([^/]+/[^/]+)/releases/download/([^/]+)/[^/]+")


class Outcome(StrEnum):
    """What a comparison came to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    UNREACHABLE = "unreachable"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was compared; `detail` tells with what result, or why not."""

    subject: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An image as its manifest or its record promises it; `size` and `tag` are None where that is not told."""

    url: str
    file: str
    sha256: str
    size: int | None
    tag: str | None

    @property
    def folder(self) -> str:
        """The URL that the release's files are below, with its final slash."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl().rpartition("/")[0] + "/"

    @property
    def repository(self) -> str | None:
        """OWNER/NAME, where the URL is that of a GitHub release."""
        found = _RELEASE.fullmatch(urlsplit(self.url).path)
        return unquote(found[1]) if found else None


def from_manifest(wanted: Wanted, where: str) -> Published:
    """What a manifest promises; raises InputError where it leads to no published file."""
    if not wanted.from_web or wanted.source is None:
        raise InputError(f"{where} does not lead to a published file", hint="Name the manifest of a release.")
    return Published(
        url=wanted.source, file=wanted.file, sha256=wanted.sha256, size=wanted.size, tag=wanted.version or None
    )


def from_tag(server: str, repository: str, tag: str, means: Means) -> Published:
    """What a release's record promises; raises FetchError where there is none."""
    folder = f"{server}/{repository}/releases/download/{tag}/"
    record = _record(folder, means)
    if record.tag != tag:
        raise VerificationError(f"the record of {tag} speaks of {record.tag}", hint="Do not use this release.")
    image = record.image.qcow2
    return Published(url=image.url, file=image.name, sha256=image.sha256, size=image.size, tag=tag)


def findings(published: Published, folder: Path, means: Means) -> Iterator[Finding]:
    """Compare everything there is, whatever the first comparisons say; `folder` takes the image."""
    record: ReleaseRecord | None = None

    def compare_record() -> str:
        nonlocal record
        record = _record(published.folder, means)
        return _compare_record(published, record)

    yield _compared("release record", compare_record)
    yield _compared("checksum file", lambda: _compare_checksum(published, means))
    path = folder / published.file
    yield _compared("image", lambda: _compare_image(published, path, means))
    yield _compared("SBOM", lambda: _compare_sbom(published, record, folder, means))
    yield _compared("ensure-vm.pyz", lambda: _compare_ensure_vm(published, record, folder, means))
    image = path if path.exists() else None
    yield _compared("provenance", lambda: _compare_provenance(published, record, image))


def _compared(subject: str, compare: Callable[[], str]) -> Finding:
    try:
        return Finding(subject=subject, outcome=Outcome.AGREES, detail=compare())
    except VerificationError as error:
        return Finding(subject=subject, outcome=Outcome.DIFFERS, detail=error.message)
    except FetchError as error:
        return Finding(subject=subject, outcome=Outcome.UNREACHABLE, detail=error.message)
    except _SkippedError as reason:
        return Finding(subject=subject, outcome=Outcome.SKIPPED, detail=str(reason))


class _SkippedError(Exception):
    """There is nothing to compare, or nothing to compare it with."""


def _compare_record(published: Published, record: ReleaseRecord) -> str:
    own = _recorded_image(published, record)
    if own is None:
        raise VerificationError(f"the record does not know {published.file}")
    differences = [
        f"{key} {theirs}, not {ours}" for key, theirs, ours in _pairs(published, own.qcow2, record) if theirs != ours
    ]
    if differences:
        raise VerificationError(f"the record has {'; '.join(differences)}")
    return f"{record.tag}, of commit {record.commit[:12]}, {record.image.validation.passed} checks passed"


def _recorded_image(published: Published, record: ReleaseRecord | None) -> ImageRelease | None:
    images = record.images if record else ()
    return next((image for image in images if image.qcow2.name == published.file), None)


def _pairs(published: Published, own: AssetRecord, record: ReleaseRecord) -> Iterator[tuple[str, object, object]]:
    yield "SHA-256", own.sha256, published.sha256
    yield "URL", own.url, published.url
    if published.size is not None:
        yield "size", own.size, published.size
    if published.tag is not None:
        yield "tag", record.tag, published.tag
    if published.repository is not None:
        yield "repository", record.repository.lower(), published.repository.lower()


def _compare_checksum(published: Published, means: Means) -> str:
    text = _read(f"{published.folder}{published.file}{artifacts.SHA256}", means).decode("utf-8", "replace")
    if text != f"{published.sha256}  {published.file}\n":
        raise VerificationError(f"it does not say {published.sha256} of {published.file}")
    return f"{published.file}{artifacts.SHA256}"


def _compare_image(published: Published, path: Path, means: Means) -> str:
    got = download(
        published.url,
        path,
        sha256=published.sha256,
        size=published.size,
        client=means.client,
        reporter=means.reporter,
    )
    return f"{got.size} bytes, SHA-256 {got.sha256}"


def _compare_sbom(published: Published, record: ReleaseRecord | None, folder: Path, means: Means) -> str:
    image = _recorded_image(published, record)
    if image is None:
        raise _SkippedError("there is no record of the image to compare with")
    sbom = next((asset for asset in image.assets if asset.name.endswith(artifacts.SBOM)), None)
    if sbom is None:
        raise VerificationError(f"the record knows no SBOM of {published.file}")
    path = _fetch(published, sbom, folder, means)
    try:
        found = read_sbom(path, image_sha256=published.sha256)
    except InputError as error:
        raise VerificationError(error.message) from error
    return f"{sbom.name}, {found.components} components"


def _compare_ensure_vm(published: Published, record: ReleaseRecord | None, folder: Path, means: Means) -> str:
    if record is None:
        raise _SkippedError("there is no record to compare with")
    _fetch(published, record.ensure_vm, folder, means)
    return f"{record.ensure_vm.size} bytes, SHA-256 {record.ensure_vm.sha256}"


def _fetch(published: Published, asset: AssetRecord, folder: Path, means: Means) -> Path:
    """A small file as it lies beside the image; raises VerificationError where it is not what the record says."""
    path = folder / asset.name
    download(
        f"{published.folder}{quote(asset.name)}",
        path,
        sha256=asset.sha256,
        size=asset.size,
        max_bytes=LARGEST_FILE,
        client=means.client,
        reporter=means.reporter,
    )
    return path


def _compare_provenance(
    published: Published, record: ReleaseRecord | None, image: Path | None, environ: Mapping[str, str] = os.environ
) -> str:
    repository = published.repository
    if repository is None:
        raise _SkippedError("the URL is not that of a GitHub release")
    if image is None:
        raise _SkippedError("there is no image to verify")
    if find_tool("gh") is None:
        raise _SkippedError("gh is not installed: https://cli.github.com")
    argv: list[Argument] = ["gh", "attestation", "verify", image, "--repo", repository]
    _ask_gh(argv, environ)
    recorded = _recorded_image(published, record)
    if recorded and recorded.attestation and SBOM_PREDICATE in recorded.attestation.predicates:
        _ask_gh([*argv, "--predicate-type", SBOM_PREDICATE], environ)
        return f"attested by {repository}, the SBOM too"
    return f"attested by {repository}"


def _ask_gh(argv: list[Argument], environ: Mapping[str, str]) -> None:
    token = environ.get("GH_TOKEN") or environ.get("GITHUB_TOKEN")
    try:
        done = run(argv, timeout=GH_SECONDS, env={"GH_TOKEN": token} if token else None, ok=(0, GH_NEEDS_LOGIN))
    except ToolError as error:
        raise VerificationError(f"gh does not confirm it: {error.details.strip() or error.message}") from error
    if done.returncode == GH_NEEDS_LOGIN:
        raise _SkippedError("gh has no token: `gh auth login`, or GH_TOKEN")


def _record(folder: str, means: Means) -> ReleaseRecord:
    url = f"{folder}{artifacts.RELEASE}"
    try:
        return parse_record(_read(url, means), ReleaseRecord, public_url(url))
    except InputError as error:
        hint = "It may be of another version of this repository; use the commands of that version."
        raise VerificationError(error.message, hint=hint, details=error.details) from error


def _read(url: str, means: Means) -> bytes:
    return read_url(url, max_bytes=LARGEST_TEXT, reporter=means.reporter, client=means.client)
