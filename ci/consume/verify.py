"""Is what a release promises what anybody gets? Compares the manifest, the record, the checksum and the bytes.

Of the other files, the SBOM and the consumer's tool: what people act upon, and run. Whoever can edit a release can make
all of them agree with each other. So what decides is the tag's commit, which GitHub is asked for apart from the
release, and that each file was signed by the release workflow for that commit.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ci.consume.wanted import Wanted
from ci.fetch.download import download, past_caches, read_url
from ci.fetch.github_access import GitHubAccess
from ci.fetch.open_url import Client
from ci.fetch.provenance import Origin, prove
from ci.fetch.source import public_url
from ci.host.errors import FetchError, InputError, ToolsmithError, UnprovenError, VerificationError
from ci.host.files import sha256_file
from ci.host.progress import Reporter
from ci.records import artifacts
from ci.records.published import MAX_BYTES, parse_published
from ci.records.release import AssetRecord, ImageRelease, ReleaseRecord
from ci.records.sbom import read_sbom

SCHEMA = "fountainkit-toolsmith-image/verification/1"
LARGEST_IMAGE = 16 << 30
LARGEST_FILE = 64 << 20

_RELEASE = re.compile(r"/([^/]+/[^/]+)/releases/download/([^/]+)/[^/]+")


class Verdict(StrEnum):
    """What a comparison came to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    UNREACHABLE = "unreachable"
    UNPROVEN = "unproven"
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

    def release_at(self, server: str) -> tuple[str, str] | None:
        """OWNER/NAME and the tag, where the URL is that of a release at this GitHub."""
        found = _RELEASE.fullmatch(urlsplit(self.url).path) if self.url.startswith(f"{server}/") else None
        return (unquote(found[1]), self.tag or unquote(found[2])) if found else None

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
    """What a release's record promises, at the address that it must have; raises FetchError where there is none."""
    folder = f"{server}/{repository}/releases/download/{tag}/"
    where = public_url(folder + artifacts.RELEASE)
    record = past_caches(
        client, reporter, lambda asked: parse_published(_read_record(folder, asked, reporter), where, tag=tag)
    )
    image = record.image.qcow2
    return PromisedImage(
        url=f"{folder}{quote(image.name)}", file=image.name, sha256=image.sha256, size=image.size, tag=tag
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """What GitHub says of a release's tag and its repository: the tag's commit, None where there is no such tag.

    `is_called` tells whether a name is, or once was, this repository's; None where it leads nowhere today.
    """

    commit: str | None
    repository_id: int
    default_branch: str
    is_called: Callable[[str], bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """With what a release is compared: GitHub's answer about a tag of a repository, and the record's digest if known.

    `ask` raises ToolsmithError where there is no answer.
    """

    access: GitHubAccess
    ask: Callable[[str, str], Tagged]
    record_sha256: str | None = None


def verify(
    promised: PromisedImage, folder: Path, client: Client, reporter: Reporter, judge: Judge
) -> Iterator[VerifiedPart]:
    """Compare everything there is, whatever the first comparisons say; `folder` takes the files."""
    release = _Release(promised=promised, folder=folder, client=client, reporter=reporter, judge=judge)
    comparisons: dict[str, Callable[[], str]] = {
        "release record": release.compare_record,
        "checksum file": release.compare_checksum,
        "image": release.compare_image,
        "SBOM": release.compare_sbom,
        "ensure-vm.pyz": release.compare_ensure_vm,
        "tag": release.compare_tag,
        "provenance of the image": lambda: release.prove(promised.file),
        "provenance of the SBOM": lambda: release.prove(release.sbom_name()),
        "provenance of the record": lambda: release.prove(artifacts.RELEASE),
        "provenance of ensure-vm.pyz": lambda: release.prove(release.tool_name()),
    }
    for part, compare in comparisons.items():
        try:
            verdict, detail = Verdict.AGREES, compare()
        except VerificationError as error:
            verdict, detail = Verdict.DIFFERS, error.message
        except FetchError as error:
            verdict, detail = Verdict.UNREACHABLE, error.message
        except UnprovenError as error:
            verdict, detail = Verdict.UNPROVEN, error.reason
        except _SkippedError as reason:
            verdict, detail = Verdict.SKIPPED, str(reason)
        yield VerifiedPart(part=part, verdict=verdict, detail=detail)


def find_origin(promised: PromisedImage, record: ReleaseRecord, judge: Judge) -> Origin:
    """Where the release's files must come from: the tag's commit, in the repository that was asked for.

    Raises VerificationError where the record is of another commit or repository, UnprovenError where GitHub cannot be
    asked.
    """
    release = promised.release_at(judge.access.server_url)
    if release is None:
        raise UnprovenError(promised.file, f"{public_url(promised.url)} is not of a release at this GitHub")
    repository, tag = release
    try:
        found = judge.ask(repository, tag)
        ours = found.is_called(record.repository)
    except ToolsmithError as error:
        raise UnprovenError(promised.file, error.message) from error
    if ours is False:
        raise VerificationError(f"the record is of {record.repository}, which is another repository than {repository}")
    if found.commit is None:
        raise VerificationError(f"{repository} has no tag {tag}")
    if found.commit != record.commit:
        raise VerificationError(f"{tag} is on commit {found.commit}, the record is of {record.commit}")
    if ours is None:
        raise UnprovenError(promised.file, f"the record is of {record.repository}, and that name leads nowhere today")
    return Origin(
        repository=record.repository,
        tag=tag,
        commit=found.commit,
        default_branch=found.default_branch,
        repository_id=found.repository_id,
    )


class _SkippedError(Exception):
    """There is nothing to compare, or nothing to compare it with."""


@dataclass(slots=True, kw_only=True)
class _Release:
    """A release while it is compared: `record`, `origin` and the files in `folder` are there once they could be had."""

    promised: PromisedImage
    folder: Path
    client: Client
    reporter: Reporter
    judge: Judge
    record: ReleaseRecord | None = None
    origin: Origin | None = None

    def compare_record(self) -> str:
        return past_caches(self.client, self.reporter, self._compare_record)

    def _compare_record(self, client: Client) -> str:
        promised, path = self.promised, self.folder / artifacts.RELEASE
        data = _read_record(promised.folder, client, self.reporter)
        path.write_bytes(data)
        if (found := sha256_file(path)) != (self.judge.record_sha256 or found):
            raise VerificationError(f"its SHA-256 is {found}, not {self.judge.record_sha256}")
        record = self.record = parse_published(data, public_url(promised.folder + artifacts.RELEASE))
        if (image := self._image()) is None:
            raise VerificationError(f"the record does not know {promised.file}")
        url = promised.url
        if release := promised.release_at(self.judge.access.server_url):  # after a renaming, the record has the old one
            url = url.replace(f"/{release[0]}/", f"/{record.repository}/", 1)
        differences = [
            f"{name} {recorded}, not {expected}"
            for name, recorded, expected in (
                ("SHA-256", image.qcow2.sha256, promised.sha256),
                ("URL", image.qcow2.url, url),
                ("size", image.qcow2.size, promised.size),
                ("tag", record.tag, promised.tag),
            )
            if expected is not None and recorded != expected
        ]
        if differences:
            raise VerificationError(f"the record has {'; '.join(differences)}")
        return f"{record.tag}, of commit {record.commit[:12]}, {record.image.validation.passed} checks passed"

    def compare_tag(self) -> str:
        if self.record is None:
            raise _SkippedError("there is no record to compare with")
        origin = self.origin = find_origin(self.promised, self.record, self.judge)
        return f"{self.record.tag} is on commit {origin.commit}"

    def sbom_name(self) -> str:
        image = self._image()
        sbom = image.file(artifacts.SBOM) if image else None
        return sbom.name if sbom else ""

    def tool_name(self) -> str:
        return self.record.ensure_vm.name if self.record else ""

    def prove(self, name: str) -> str:
        """The run that had the file signed."""
        if self.origin is None:
            raise _SkippedError("it is not known which commit it must be of")
        if not name or not (self.folder / name).is_file():
            raise _SkippedError("there is no such file to verify")
        return prove(self.folder / name, self.origin, self.judge.access)

    def _image(self) -> ImageRelease | None:
        images = self.record.images if self.record else ()
        return next((image for image in images if image.qcow2.name == self.promised.file), None)

    def compare_checksum(self) -> str:
        return past_caches(self.client, self.reporter, self._compare_checksum)

    def _compare_checksum(self, client: Client) -> str:
        name = f"{self.promised.file}{artifacts.SHA256}"
        data = read_url(self.promised.folder + name, max_bytes=MAX_BYTES, reporter=self.reporter, client=client)
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


def _read_record(folder: str, client: Client, reporter: Reporter) -> bytes:
    return read_url(f"{folder}{artifacts.RELEASE}", max_bytes=MAX_BYTES, reporter=reporter, client=client)


def require_agreement(promised: PromisedImage, found: Sequence[VerifiedPart], *, allow_unproven: bool = False) -> None:
    """Raise VerificationError where something differs, FetchError where something could not be had.

    Raises UnprovenError where all is as promised, but what proves it could not be checked.
    """
    for verdict, error, what, hint in (
        (
            Verdict.DIFFERS,
            VerificationError,
            "is not what it promises",
            "Do not use this image, and tell its publisher.",
        ),
        (Verdict.UNREACHABLE, FetchError, "cannot be compared in full", "Check the URL and the network; run it again."),
    ):
        if wrong := [f"{one.part}: {one.detail}" for one in found if one.verdict is verdict]:
            raise error(f"the release {what}: {wrong[0]}", hint=hint, details="\n".join(wrong))
    unproven = [f"{one.part}: {one.detail}" for one in found if one.verdict is Verdict.UNPROVEN]
    if unproven and not allow_unproven:
        raise UnprovenError(
            promised.file,
            unproven[0],
            hint="All else is as promised. It takes the GitHub CLI, logged in: https://cli.github.com. With "
            "--allow-unproven this is no error.",
        )
