"""Publish the tested images in dist/ as a GitHub Release: draft, upload, compare every asset, make public last.

Looks at what is there first and takes only the steps that are missing; run it again after any failure.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.consume.bundle import write_archive_of
from ci.fetch.retry import Patience
from ci.github.answers import Release
from ci.github.client import GitHub
from ci.github.context import Context, chosen_tag, run_url
from ci.github.failures import nothing_vanishes
from ci.host import actions, cli
from ci.host.errors import AccessError, RemoteError, VerificationError, toolsmith
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.host.workspace import work_folder
from ci.image.definition import RELEASE_IMAGE
from ci.records.version import Version
from ci.release import proposal as proposals
from ci.release.dist import local_file
from ci.release.publish import carry_out, described, examine, preflight
from ci.release.read_back import newest_release

# Makes the consumer's tool in a folder, of a commit or of whatever is checked out.
Bundle = Callable[[Path, str | None], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReleaseRequest:
    """What to publish: the images in `dist`, of `tag` or of the only version there; the manifest's is `image`.

    `record_sha256` is the digest of the record that prepare-release made and that was attested, with the
    files that it names; None where nothing was.
    """

    dist: Path = ROOT / "dist"
    tag: Version | None = None
    image: str = RELEASE_IMAGE
    repository: str | None = None
    record_sha256: str | None = None
    allow_dirty: bool = False
    dry_run: bool = False


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("toolsmith-image publish", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--tag", help="vYYYY.MM.DD[.N] [the pushed tag; the version in dist]")
    result.add_argument("--image", default=RELEASE_IMAGE, metavar="NAME", help="of several, the manifest's")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--record-sha256", metavar="DIGEST", help="of the release.json that was attested")
    result.add_argument("--allow-dirty", action="store_true", help="accept a build with uncommitted changes")
    result.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    return result


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
    bundle: Bundle = write_archive_of,
) -> None:
    request = cli.filled(PublishReleaseRequest, options, tag=chosen_tag(options.tag, environ))
    publish_release(request, reporter, environ=environ, patience=patience, bundle=bundle)


@nothing_vanishes()
def publish_release(
    request: PublishReleaseRequest,
    reporter: Reporter,
    *,
    environ: Mapping[str, str],
    patience: Patience | None = None,
    bundle: Bundle = write_archive_of,
) -> None:
    """Publish, or show the plan; raises what docs/exit-codes.md lists."""
    context = Context.from_environment(environ, repository=request.repository, anonymous=request.dry_run)
    with reporter.step("Reading and hashing what was built and tested"):
        images, commit = proposals.read_images(
            request.dist, request.tag, request.image, context, allow_dirty=request.allow_dirty
        )
    version = Version.parse(images[0].build.version)
    github = GitHub(context, reporter, patience)
    with work_folder(request.dist) as folder:
        ensure_vm = local_file(bundle(folder, None if request.allow_dirty else commit))
        # Everything up to the first write comes first, so that what can be refused is refused before it.
        with reporter.step("Looking at what is there"):
            ask = _look_without_a_token if context.token is None else preflight
            releases, tagged = ask(github, str(version), commit)
            immutable = github.releases_are_immutable() if context.token is not None else None
            attested = request.record_sha256 is not None
            record = proposals.make_record(
                github, releases, images, ensure_vm, run=run_url(environ), attested=attested
            )  # fmt: skip
        snippet, record_file = proposals.write_own_files(record, folder)
        _require_attested(record_file.sha256, request.record_sha256)
        newest = newest_release(releases)
        latest = newest is None or newest.version is None or newest.version <= version
        files = (ensure_vm, snippet, record_file)
        merged = proposals.merged_pulls(github, releases, record, tagged=tagged)
        proposal = proposals.make_proposal(record, images, files, merged=merged, latest=latest, tagged=tagged)
        if immutable:
            reporter.note(
                "Releases of this repository are immutable: once published, neither assets nor tag can change"
            )
        plan = examine(github, releases, proposal)
        if request.dry_run:
            for line in (*described(plan, proposal), f"\nThe release notes:\n\n{proposal.body}"):
                reporter.note(line)
            return
        published = carry_out(github, plan, proposal)
    reporter.note(f"{proposal.tag} is published{' already' if plan.published else ''}: {published.html_url}")
    reporter.note(f"next: {toolsmith('roll-out', '--tag', proposal.tag, '--record-sha256', record_file.sha256)}")
    outputs = {"tag": proposal.tag, "url": published.html_url, "record-sha256": record_file.sha256}
    actions.set_outputs(outputs, environ)


def _look_without_a_token(github: GitHub, tag: str, commit: str) -> tuple[list[Release], bool]:
    """What anybody may see, for a dry run; what could not be looked at is said."""
    github.reporter.warn(
        "Without a token nobody can tell whether there is a draft already, whether releases are immutable, and whether "
        "publishing would be allowed"
    )
    try:
        return preflight(github, tag, commit)
    except (AccessError, RemoteError) as failure:
        github.reporter.warn(f"Neither the tag nor earlier releases could be looked at: {failure}")
        return [], False


def _require_attested(made: str, attested: str | None) -> None:
    """Raise VerificationError where the record is not the one that was attested."""
    if attested not in {None, made}:
        raise VerificationError(
            f"the release record made here has SHA-256 {made}, the one that was attested has {attested}: it was made "
            "by another run or commit, or releases were published or removed since",
            hint="Run the whole workflow again (Re-run all jobs, or a new run that resumes this one's images): the "
            "record is then made and attested anew.",
        )


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
