"""Is what a release promises what anybody gets? Compares the manifest, the record, the checksum and the bytes.

Of the other files, the SBOM and the consumer's tool: what people act upon, and run.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ci.consume.wanted import Wanted
from ci.fetch.download import download, read_url
from ci.fetch.open_url import Client
from ci.fetch.source import public_url
from ci.host.errors import FetchError, InputError, ToolError, VerificationError
from ci.host.process import Argument, find_tool, run
from ci.host.progress import Reporter
from ci.records import artifacts
from ci.records.published import MAX_BYTES, parse_published
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord
from ci.records.sbom import read_sbom

SCHEMA = "fountainkit-toolsmith-image/verification/1"
SBOM_PREDICATE = "https://cyclonedx.org/bom"
LARGEST_IMAGE = 16 << 30
LARGEST_FILE = 64 << 20
GH_SECONDS = 300
# https://cli.github.com/manual/gh_help_exit-codes
GH_NEEDS_LOGIN = 4

_RELEASE = re.compile(r"/([^/]+/[^/]+)/releases/download/([^/]+)/[^/]+")


class Verdict(StrEnum):
    """What a comparison came to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    UNREACHABLE = "unreachable"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPart:
    """One thing that was compared; `detail` tells with what result, or why not."""

    part: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisedImage:
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

    def document(self, found: Sequence[VerifiedPart]) -> dict[str, object]:
        """What was promised, and what was found, for programs."""
        own = {"url": self.url, "sha256": self.sha256, "size": self.size, "tag": self.tag}
        findings = [{"subject": one.part, "outcome": one.verdict.value, "detail": one.detail} for one in found]
        return {"schema": SCHEMA, **own, "findings": findings}


def from_manifest(wanted: Wanted, where: str) -> PromisedImage:
    """What a manifest promises; raises InputError where it leads to no published file."""
    if not wanted.from_web or wanted.source is None:
        raise InputError(f"{where} does not lead to a published file", hint="Name the manifest of a release.")
    return PromisedImage(
        url=wanted.source, file=wanted.file, sha256=wanted.sha256, size=wanted.size, tag=wanted.version or None
    )


def from_tag(server: str, repository: str, tag: str, client: Client, reporter: Reporter) -> PromisedImage:
    """What a release's record promises; raises FetchError where there is none."""
    folder = f"{server}/{repository}/releases/download/{tag}/"
    record = _record(folder, client, reporter, tag=tag)
    image = record.image.qcow2
    return PromisedImage(url=image.url, file=image.name, sha256=image.sha256, size=image.size, tag=tag)


def verify(promised: PromisedImage, folder: Path, client: Client, reporter: Reporter) -> Iterator[VerifiedPart]:
    """Compare everything there is, whatever the first comparisons say; `folder` takes the image."""
    release = _Release(promised=promised, folder=folder, client=client, reporter=reporter)
    comparisons = {
        "release record": release.compare_record,
        "checksum file": release.compare_checksum,
        "image": release.compare_image,
        "SBOM": release.compare_sbom,
        "ensure-vm.pyz": release.compare_ensure_vm,
        "provenance": release.compare_provenance,
    }
    for part, compare in comparisons.items():
        try:
            verdict, detail = Verdict.AGREES, compare()
        except VerificationError as error:
            verdict, detail = Verdict.DIFFERS, error.message
        except FetchError as error:
            verdict, detail = Verdict.UNREACHABLE, error.message
        except _SkippedError as reason:
            verdict, detail = Verdict.SKIPPED, str(reason)
        yield VerifiedPart(part=part, verdict=verdict, detail=detail)


class _SkippedError(Exception):
    """There is nothing to compare, or nothing to compare it with."""


@dataclass(slots=True, kw_only=True)
class _Release:
    """A release while it is compared: `record` and the image in `folder` are there once they could be read."""

    promised: PromisedImage
    folder: Path
    client: Client
    reporter: Reporter
    record: ReleaseRecord | None = None

    def compare_record(self) -> str:
        promised = self.promised
        record = self.record = _record(promised.folder, self.client, self.reporter)
        if (image := self._image()) is None:
            raise VerificationError(f"the record does not know {promised.file}")
        repository = (promised.repository or "").lower() or None
        differences = [
            f"{name} {recorded}, not {expected}"
            for name, recorded, expected in (
                ("SHA-256", image.qcow2.sha256, promised.sha256),
                ("URL", image.qcow2.url, promised.url),
                ("size", image.qcow2.size, promised.size),
                ("tag", record.tag, promised.tag),
                ("repository", record.repository.lower(), repository),
            )
            if expected is not None and recorded != expected
        ]
        if differences:
            raise VerificationError(f"the record has {'; '.join(differences)}")
        return f"{record.tag}, of commit {record.commit[:12]}, {record.image.validation.passed} checks passed"

    def _image(self) -> ImageRelease | None:
        images = self.record.images if self.record else ()
        return next((image for image in images if image.qcow2.name == self.promised.file), None)

    def compare_checksum(self) -> str:
        name = f"{self.promised.file}{artifacts.SHA256}"
        data = read_url(self.promised.folder + name, max_bytes=MAX_BYTES, reporter=self.reporter, client=self.client)
        if data.decode("utf-8", "replace") != f"{self.promised.sha256}  {self.promised.file}\n":
            raise VerificationError(f"it does not say {self.promised.sha256} of {self.promised.file}")
        return name

    def compare_image(self) -> str:
        promised = self.promised
        return self._download(promised.url, promised.file, promised.sha256, promised.size, LARGEST_IMAGE)

    def compare_sbom(self) -> str:
        if (image := self._image()) is None:
            raise _SkippedError("there is no record of the image to compare with")
        if (sbom := image.file(artifacts.SBOM)) is None:
            raise VerificationError(f"the record knows no SBOM of {self.promised.file}")
        self._fetch(sbom)
        try:
            found = read_sbom(self.folder / sbom.name, image_sha256=self.promised.sha256)
        except InputError as error:
            raise VerificationError(error.message) from error
        return f"{sbom.name}, {found.components} components"

    def compare_ensure_vm(self) -> str:
        if self.record is None:
            raise _SkippedError("there is no record to compare with")
        return self._fetch(self.record.ensure_vm)

    def _fetch(self, asset: AssetRecord) -> str:
        """A small file as it lies beside the image; raises VerificationError where it is not what the record says."""
        url = f"{self.promised.folder}{quote(asset.name)}"
        return self._download(url, asset.name, asset.sha256, asset.size, LARGEST_FILE)

    def _download(self, url: str, name: str, sha256: str, size: int | None, max_bytes: int) -> str:
        got = download(
            url,
            self.folder / name,
            sha256=sha256,
            size=size,
            max_bytes=max_bytes,
            client=self.client,
            reporter=self.reporter,
        )
        return f"{got.size} bytes, SHA-256 {got.sha256}"

    def compare_provenance(self) -> str:
        repository, image = self.promised.repository, self.folder / self.promised.file
        if repository is None:
            raise _SkippedError("the URL is not that of a GitHub release")
        if not image.exists():
            raise _SkippedError("there is no image to verify")
        if find_tool("gh") is None:
            raise _SkippedError("gh is not installed: https://cli.github.com")
        argv: list[Argument] = ["gh", "attestation", "verify", image, "--repo", repository]
        _ask_gh(argv)
        recorded = self._image()
        if recorded and recorded.attestation and SBOM_PREDICATE in recorded.attestation.predicates:
            _ask_gh([*argv, "--predicate-type", SBOM_PREDICATE])
            return f"attested by {repository}, the SBOM too"
        return f"attested by {repository}"


def _ask_gh(argv: list[Argument]) -> None:
    token = os.environ.get("GH_TOKEN") or os.environ.get("GITHUB_TOKEN")
    try:
        done = run(argv, timeout=GH_SECONDS, env={"GH_TOKEN": token} if token else None, ok=(0, GH_NEEDS_LOGIN))
    except ToolError as error:
        raise VerificationError(f"gh does not confirm it: {error.details.strip() or error.message}") from error
    if done.returncode == GH_NEEDS_LOGIN:
        raise _SkippedError("gh has no token: `gh auth login`, or GH_TOKEN")


def _record(folder: str, client: Client, reporter: Reporter, *, tag: str | None = None) -> ReleaseRecord:
    url = f"{folder}{artifacts.RELEASE}"
    data = read_url(url, max_bytes=MAX_BYTES, reporter=reporter, client=client)
    return parse_published(data, public_url(url), tag=tag)


def require_agreement(found: Sequence[VerifiedPart]) -> None:
    """Raise VerificationError where something differs, FetchError where something could not be had."""
    for verdict, error, hint in (
        (Verdict.DIFFERS, VerificationError, "Do not use this image, and tell its publisher."),
        (Verdict.UNREACHABLE, FetchError, "Check the URL and the network, then run it again."),
    ):
        if wrong := [f"{one.part}: {one.detail}" for one in found if one.verdict is verdict]:
            raise error(f"the release is not what it promises: {wrong[0]}", hint=hint, details="\n".join(wrong))
