"""Publish the tested images in dist/ as a GitHub Release: draft, upload, compare every asset, make public last.

Looks at what is there first and takes only the steps that are missing; run it again after any failure.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.host import actions, cli
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.host.workspace import work_folder
from ci.records.version import Version
from ci.release import proposal as proposals
from ci.release.context import Context, chosen_tag, run_url
from ci.release.dist import read_dist
from ci.release.failures import nothing_vanishes
from ci.release.github import GitHub
from ci.release.publish import (
    Action,
    Proposal,
    Publisher,
    describe,
    examine,
    is_newest,
    newest_before,
    plan,
    preflight,
)
from ci.release.retry import Patience
from ci.release.state import RECORD_NAME, Situation
from ci.release.transfer import Transfer


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.publish_release", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--tag", help="vYYYY.MM.DD[.N] [the pushed tag; the version in dist]")
    result.add_argument("--image", default="jammy", metavar="NAME", help="the one the manifest points to, of several")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--attested", action="store_true", help="the notes say how to verify the attestation")
    result.add_argument("--allow-dirty", action="store_true", help="accept a build with uncommitted changes")
    result.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> int:
    """Publish, or show the plan; raises what docs/exit-codes.md lists."""
    tag = chosen_tag(options.tag, environ)
    context = Context.from_environment(environ, repository=options.repository)
    with reporter.step("Reading and hashing what was built and tested"):
        images = read_dist(options.dist, version=tag, allow_dirty=options.allow_dirty)
    primary, others = proposals.primary_image(images, options.image)
    commit = proposals.check_commit(images, context)
    version = Version.parse(primary.build.version)
    github = GitHub(context, reporter, patience)
    with work_folder(options.dist) as folder, Transfer(context, github.patience) as transfer:
        # Everything up to the first write comes first, so that what can be refused is refused before it.
        with reporter.step("Looking at what is there"):
            releases = preflight(github, str(version), commit)
            immutable = github.releases_are_immutable()
            earlier = newest_before(releases, version)
            previous, changes = proposals.read_previous(github, transfer, earlier, primary, reporter)
        record = proposals.release_record(
            context, version, primary, others, previous=previous, changes=changes, run=run_url(environ)
        )
        proposal = proposals.make_proposal(
            record,
            images,
            folder / RECORD_NAME,
            latest=is_newest(releases, version),
            attested=options.attested,
        )
        if immutable:
            reporter.note(
                "Releases of this repository are immutable: once published, neither assets nor tag can change"
            )
        situation = examine(github, releases, proposal)
        steps = plan(situation, proposal)
        if options.dry_run:
            _show_plan(proposal, situation, steps, reporter)
            return 0
        published = Publisher(github, transfer, proposal, reporter).carry_out(steps, situation)
    reporter.note(f"{proposal.tag} is published{'' if steps else ' already'}: {published.html_url}")
    actions.set_outputs({"tag": proposal.tag, "url": published.html_url}, environ)
    return 0


def _show_plan(proposal: Proposal, situation: Situation, steps: Sequence[Action], reporter: Reporter) -> None:
    reporter.note(f"{proposal.tag}: {situation.standing}")
    for step in steps:
        reporter.note(f"would {describe(step, proposal)}")
    if not steps:
        reporter.note("nothing to do")
    reporter.note(f"\nThe release notes:\n\n{proposal.body}")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
