"""Verify what a manifest or a tag promises, as anybody could; or find the release that a file is of.

Of a release it compares the record, the checksum file, the image's bytes, the SBOM and the consumer's tool with what is
promised, and the record with the tag; and with the help of `gh`, that each was signed by the release workflow for the
tag's commit. For a file, or a SHA-256, it tells
the release, whether the bytes are the published ones, what went in and what came after; it looks into releases/ first,
then at GitHub. A token in GITHUB_TOKEN is used where there is one; public releases need none.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ci.consume.verify import Judge, Tagged, from_manifest, from_tag, require_agreement, verify
from ci.consume.wanted import read_manifest_file, wanted_image
from ci.fetch.download import parse_sha256
from ci.fetch.github_access import access_from
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context, repository_of_remote, require_repository
from ci.github.failures import nothing_vanishes
from ci.host import cli
from ci.host.errors import InputError, ToolsmithError
from ci.host.files import sha256_file
from ci.host.progress import Reporter, write_json
from ci.host.repository import ROOT
from ci.host.workspace import cache_folder, work_folder
from ci.records.published import read_releases
from ci.records.release import ReleaseRecord
from ci.records.version import Version
from ci.release.identify import (
    Aftermath,
    Identified,
    Unidentified,
    document,
    identify,
    identify_at,
    later,
    look_after,
    require_intact,
    rows,
    unknown,
)

MANIFEST = os.fspath(ROOT / "manifests" / "tools.json")
RELEASES = ROOT / "releases"
# For who asks a question, unlike for who fetches an image or publishes, a few attempts are enough.
PATIENCE = Patience(attempts=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReleaseRequest:
    """What to verify: a file or a digest of any release, else a tag of `repository`, else what `manifest` leads to."""

    manifest: str = MANIFEST
    tag: str | None = None
    file: Path | None = None
    digest: str | None = None
    repository: str | None = None
    record_sha256: str | None = None
    allow_unproven: bool = False
    releases: Path = RELEASES
    offline: bool = False
    as_json: bool = False


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("toolsmith-image verify", __doc__)
    what = result.add_mutually_exclusive_group()
    what.add_argument("--manifest", default=MANIFEST, metavar="PATH|URL", help="default: manifests/tools.json")
    what.add_argument("--tag", help="vYYYY.MM.DD[.N], of --repository")
    what.add_argument("--file", type=Path, help="which release is it of? Any file of a release")
    what.add_argument("--digest", metavar="SHA256", help="the same of a file that is not here")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY; origin; a file's record]")
    result.add_argument("--record-sha256", metavar="SHA256", help="that release.json must have, if known")
    result.add_argument(
        "--allow-unproven", action="store_true", help="no error where gh cannot check who signed the files"
    )
    result.add_argument(
        "--releases", type=Path, default=RELEASES, metavar="FOLDER", help="of a file (default: releases)"
    )
    result.add_argument("--offline", action="store_true", help="of a file: ask nobody, only --releases")
    result.add_argument("--json", action="store_true", dest="as_json", help="print what was found as JSON")
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> None:
    """Verify what is promised, or find the release of a file; raises what docs/exit-codes.md lists."""
    repository = options.repository or environ.get("GITHUB_REPOSITORY") or None
    request = cli.filled(VerifyReleaseRequest, options, repository=repository)
    if request.file is None and request.digest is None:
        _verify_promise(request, reporter, environ, patience or Patience())
    else:
        _find_release(request, reporter, environ, patience or PATIENCE)


def _verify_promise(
    asked: VerifyReleaseRequest, reporter: Reporter, environ: Mapping[str, str], patience: Patience
) -> None:
    """Compare all there is; raises VerificationError where something differs, FetchError where it is not there."""
    access = access_from(environ)
    client = Client(patience=patience, github=access)
    if asked.tag is None:
        manifest = read_manifest_file(asked.manifest, Path(), client=client, reporter=reporter)
        promised = from_manifest(wanted_image(manifest), manifest.where)
    else:
        repository = asked.repository or repository_of_remote(access.host)
        require_repository(repository)
        promised = from_tag(access.server_url, repository, str(Version.parse(asked.tag)), client, reporter)
    record_sha256 = None if asked.record_sha256 is None else parse_sha256(asked.record_sha256.removeprefix("sha256:"))
    ask = partial(ask_for_tag, environ, reporter, patience)
    judge = Judge(access=access, ask=ask, record_sha256=record_sha256)
    with work_folder(cache_folder() / "verify") as folder:
        found = list(verify(promised, folder, client, reporter, judge))
    reporter.table(
        f"Verification of {promised.file}", ("what", "", "detail"), [(f.part, f.verdict, f.detail) for f in found]
    )
    if asked.as_json:
        write_json(promised.document(found))
    require_agreement(promised, found, allow_unproven=asked.allow_unproven)


def ask_for_tag(
    environ: Mapping[str, str], reporter: Reporter, patience: Patience, repository: str, tag: str
) -> Tagged:
    """What GitHub says of a tag, and of the repository."""
    context = Context.from_environment(environ, repository=repository, anonymous=True)
    github = GitHub(context, reporter, patience)
    facts = github.repository()
    return Tagged(
        commit=github.tag_commit(tag),
        repository_id=facts.id,
        default_branch=facts.default_branch,
        is_called=github.is_called,
    )


def _find_release(
    asked: VerifyReleaseRequest, reporter: Reporter, environ: Mapping[str, str], patience: Patience
) -> None:
    """Tell which release it is of; raises UnknownOriginError, VerificationError where it is not what was published."""
    subject = read_subject(asked, reporter)
    records = list(read_releases(asked.releases))
    known = [one for one in records if isinstance(one, ReleaseRecord)]
    problems = [one for one in records if isinstance(one, ToolsmithError)]
    found, after = identify(subject, known), None
    repository = asked.repository or (found.record.repository if found else None)
    if repository and not asked.offline:
        context = Context.from_environment(environ, repository=repository, anonymous=True)
        found, after = _ask(GitHub(context, reporter, patience), subject, found)
    if found is None:
        raise problems[0] if problems else unknown(subject, repository if not asked.offline else None)
    for problem in problems:
        reporter.warn(problem.message)
    newer = later(found.record.tag, [one.tag for one in known] + ([after.newest] if after and after.newest else []))
    reporter.table(f"Release of {subject.given}", ("what", "it is"), rows(subject, found, after, newer))
    if asked.as_json:
        write_json(document(subject, found, after, newer))
    require_intact(subject, found, after)


def read_subject(asked: VerifyReleaseRequest, reporter: Reporter) -> Unidentified:
    """What is asked about; raises InputError where it is no file and no digest."""
    if asked.file is None:
        return Unidentified(given=asked.digest or "", sha256=parse_sha256((asked.digest or "").removeprefix("sha256:")))
    path = asked.file
    try:
        with reporter.step(f"Hashing {path.name}"):
            return Unidentified(given=str(path), sha256=sha256_file(path), name=path.name, size=path.stat().st_size)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", hint="Check the path, and who may read it."
        ) from error


def _ask(github: GitHub, subject: Unidentified, found: Identified | None) -> tuple[Identified | None, Aftermath | None]:
    """What GitHub adds. Where the release is known already, it is no failure that GitHub cannot be asked."""
    try:
        with github.reporter.step(f"Asking for the releases of {github.context.repository}"):
            releases = github.releases()
            found = found or identify_at(github, subject, releases)
            return found, look_after(github, releases, found.record) if found else None
    except ToolsmithError as failure:
        if found is None:
            raise
        github.reporter.warn(f"GitHub tells nothing about it: {failure.message}")
        return found, None


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
