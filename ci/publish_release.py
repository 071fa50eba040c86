"""Publish the tested images in dist/ as a GitHub Release: draft, upload, compare every asset, make public last.

Looks at what is there first and takes only the steps that are missing; run it again after any failure.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.consume.bundle import write_archive
from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context, chosen_tag, run_url
from ci.github.failures import nothing_vanishes
from ci.host import actions, cli
from ci.host.errors import RefusedError
from ci.host.progress import Reporter
from ci.host.repository import ROOT, current_revision
from ci.host.workspace import work_folder
from ci.image.definition import RELEASE_IMAGE
from ci.records import artifacts
from ci.records.version import Version
from ci.release import proposal as proposals
from ci.release.dist import local_file, read_dist
from ci.release.publish import carry_out, described, examine, preflight
from ci.release.read_back import newest_release

# Makes the consumer's tool in a folder, of a commit or of whatever is checked out.
Bundle = Callable[[Path, str | None], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishReleaseRequest:
    """What to publish: the images in `dist`, of `tag` or of the only version there; the manifest's is `image`.

    `attested` tells that the images have attestations.
    """

    dist: Path = ROOT / "dist"
    tag: Version | None = None
    image: str = RELEASE_IMAGE
    repository: str | None = None
    attested: bool = False
    allow_dirty: bool = False
    dry_run: bool = False


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("python -m ci.publish_release", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--tag", help="vYYYY.MM.DD[.N] [the pushed tag; the version in dist]")
    result.add_argument("--image", default=RELEASE_IMAGE, metavar="NAME", help="of several, the manifest's")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--attested", action="store_true", help="the notes say how to verify the attestation")
    result.add_argument("--allow-dirty", action="store_true", help="accept a build with uncommitted changes")
    result.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    return result


def make_ensure_vm(folder: Path, commit: str | None) -> Path:
    """The consumer's tool as a file in `folder`; raises RefusedError where this checkout is not of `commit`, if any."""
    revision = current_revision()
    if commit is not None and (revision.dirty or revision.commit != commit):
        changed = " with changes that are in no commit" if revision.dirty else ""
        raise RefusedError(
            f"the images are of commit {commit}, this checkout is at {revision.commit}{changed}: "
            "the release's ensure-vm.pyz must be of the images' commit",
            hint=f"Run it in a clean checkout of that commit: git worktree add FOLDER {commit}",
        )
    return write_archive(ROOT, folder)


def request(options: argparse.Namespace, environ: Mapping[str, str]) -> PublishReleaseRequest:
    """What the flags, and the variables for those that are missing, ask for."""
    return PublishReleaseRequest(
        dist=options.dist,
        tag=chosen_tag(options.tag, environ),
        image=options.image,
        repository=options.repository,
        attested=options.attested,
        allow_dirty=options.allow_dirty,
        dry_run=options.dry_run,
    )


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
    bundle: Bundle = make_ensure_vm,
) -> int:
    publish_release(request(options, environ), reporter, environ=environ, patience=patience, bundle=bundle)
    return 0


@nothing_vanishes()
def publish_release(
    request: PublishReleaseRequest,
    reporter: Reporter,
    *,
    environ: Mapping[str, str],
    patience: Patience | None = None,
    bundle: Bundle = make_ensure_vm,
) -> None:
    """Publish, or show the plan; raises what docs/exit-codes.md lists."""
    context = Context.from_environment(environ, repository=request.repository)
    with reporter.step("Reading and hashing what was built and tested"):
        images = read_dist(request.dist, version=request.tag, allow_dirty=request.allow_dirty)
    images = proposals.primary_first(images, request.image)
    commit = proposals.check_commit(images, context)
    version = Version.parse(images[0].build.version)
    github = GitHub(context, reporter, patience)
    with work_folder(request.dist) as folder:
        ensure_vm = local_file(bundle(folder, None if request.allow_dirty else commit))
        # Everything up to the first write comes first, so that what can be refused is refused before it.
        with reporter.step("Looking at what is there"):
            releases = preflight(github, str(version), commit)
            immutable = github.releases_are_immutable()
            previous, changes = proposals.read_previous(github, releases, images[0])
        record = proposals.release_record(
            context,
            images,
            ensure_vm,
            previous=previous,
            changes=changes,
            run=run_url(environ),
            attested=request.attested,
        )
        newest = newest_release(releases)
        latest = newest is None or newest.version is None or newest.version <= version
        proposal = proposals.make_proposal(record, images, ensure_vm, folder / artifacts.RELEASE, latest=latest)
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
    actions.set_outputs({"tag": proposal.tag, "url": published.html_url}, environ)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
