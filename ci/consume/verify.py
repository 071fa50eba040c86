"""Is what a release promises what anybody gets? Compares the manifest, the record, the checksum and the bytes."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from ci.consume.hydrate import Means
from ci.consume.wanted import Wanted
from ci.host.download import download, read_url
from ci.host.errors import FetchError, InputError, ToolError, VerificationError
from ci.host.process import Argument, find_tool, run
from ci.host.source import public_url
from ci.records.release import AssetRecord, ReleaseRecord

RECORD_NAME = "release.json"
CHECKSUM_SUFFIX = ".sha256"
LARGEST_TEXT = 16 << 20
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
    yield _compared("release record", lambda: _compare_record(published, means))
    yield _compared("checksum file", lambda: _compare_checksum(published, means))
    path = folder / published.file
    image = _compared("image", lambda: _compare_image(published, path, means))
    yield image
    yield _compared("provenance", lambda: _compare_provenance(published, path if path.exists() else None))


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


def _compare_record(published: Published, means: Means) -> str:
    record = _record(published.folder, means)
    own = next((one.qcow2 for one in record.images if one.qcow2.name == published.file), None)
    if own is None:
        raise VerificationError(f"the record does not know {published.file}")
    differences = [
        f"{key} {theirs}, not {ours}" for key, theirs, ours in _pairs(published, own, record) if theirs != ours
    ]
    if differences:
        raise VerificationError(f"the record has {'; '.join(differences)}")
    return f"{record.tag}, of commit {record.commit[:12]}, {record.image.validation.passed} checks passed"


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
    text = _read(f"{published.folder}{published.file}{CHECKSUM_SUFFIX}", means).decode("utf-8", "replace")
    if text != f"{published.sha256}  {published.file}\n":
        raise VerificationError(f"it does not say {published.sha256} of {published.file}")
    return f"{published.file}{CHECKSUM_SUFFIX}"


def _compare_image(published: Published, path: Path, means: Means) -> str:
    got = download(
        published.url,
        path,
        sha256=published.sha256,
        size=published.size,
        client=means.client,
        reporter=means.reporter,
        sleep=means.sleep,
    )
    return f"{got.size} bytes, SHA-256 {got.sha256}"


def _compare_provenance(published: Published, image: Path | None, environ: Mapping[str, str] = os.environ) -> str:
    repository = published.repository
    if repository is None:
        raise _SkippedError("the URL is not that of a GitHub release")
    if image is None:
        raise _SkippedError("there is no image to verify")
    if find_tool("gh") is None:
        raise _SkippedError("gh is not installed: https://cli.github.com")
    argv: list[Argument] = ["gh", "attestation", "verify", image, "--repo", repository]
    token = environ.get("GH_TOKEN") or environ.get("GITHUB_TOKEN")
    try:
        done = run(argv, timeout=GH_SECONDS, env={"GH_TOKEN": token} if token else None, ok=(0, GH_NEEDS_LOGIN))
    except ToolError as error:
        raise VerificationError(f"gh does not confirm it: {error.details.strip() or error.message}") from error
    if done.returncode == GH_NEEDS_LOGIN:
        raise _SkippedError("gh has no token: `gh auth login`, or GH_TOKEN")
    return f"attested by {repository}"


def _record(folder: str, means: Means) -> ReleaseRecord:
    url = f"{folder}{RECORD_NAME}"
    try:
        return ReleaseRecord.model_validate_json(_read(url, means))
    except ValidationError as error:
        raise VerificationError(f"{public_url(url)} is not a release record", details=str(error)) from error


def _read(url: str, means: Means) -> bytes:
    return read_url(url, max_bytes=LARGEST_TEXT, reporter=means.reporter, client=means.client, sleep=means.sleep)
