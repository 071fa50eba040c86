"""Check whether this machine can build and boot an image, or GitHub release it; print the fix for what is missing.

With --github it looks at the settings of the repository on GitHub instead, and changes none of them.
"""

import argparse
import os
import sys
from collections.abc import Iterable

from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context
from ci.github.settings import findings as github_findings
from ci.host import cli
from ci.host.accelerator import probe, with_other
from ci.host.appliance.check import check_appliance
from ci.host.errors import InputError, RefusedError
from ci.host.prerequisites import Finding, Status, check_accelerator, quick_findings, raise_for
from ci.host.progress import Reporter
from ci.host.repository import BUILD, ROOT
from ci.host.workspace import cache_folder
from ci.image.authorized_keys import read_authorized_keys


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("toolsmith-image doctor", __doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the start of libguestfs's appliance")
    parser.add_argument("--github", action="store_true", help="look at the settings on GitHub instead; changes none")
    parser.add_argument("--repository", metavar="OWNER/NAME", help="with --github [GITHUB_REPOSITORY; this clone's]")
    return parser


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    if options.github:
        look_at_github(Context.from_environment(os.environ, repository=options.repository, anonymous=True), reporter)
        return
    with reporter.step("Looking at this machine"):
        findings = [*quick_findings(ROOT / "dist", cache_folder()), check_accelerator()]
    if not options.quick:
        findings += _try_appliance(findings, reporter)
    rows = [(finding.name, finding.found, finding.status) for finding in findings]
    reporter.table("Prerequisites", ("what", "found", "status"), rows)
    for finding in findings:  # below the table, where no column breaks a command
        if finding.status is Status.WARNING and finding.fix:
            reporter.note(f"{finding.name}: {finding.fix}")
    raise_for(findings)
    reporter.note("This machine can build and boot images.")


def look_at_github(context: Context, reporter: Reporter, patience: Patience | None = None) -> None:
    """Tell what a first release needs and what is there; raises RefusedError where one would fail."""
    with reporter.step(f"Looking at {context.repository}"):
        findings = [_token(context), _keys(), *github_findings(GitHub(context, reporter, patience))]
    rows = [(finding.name, finding.found, finding.status) for finding in findings]
    reporter.table("On GitHub", ("what", "found", "status"), rows)
    _tell_next(findings, reporter)


def _token(context: Context) -> Finding:
    if context.token:
        return Finding(name="token", found="there")
    return Finding(name="token", found="none: GH_TOKEN=$(gh auth token) lends that of gh", status=Status.UNKNOWN)


def _keys() -> Finding:
    name, path = "keys that may log in", BUILD / "authorized_keys"
    try:
        return Finding(name=name, found=f"{len(read_authorized_keys(path))} in build/authorized_keys")
    except InputError as error:
        return Finding(name=name, found=error.message, status=Status.MISSING, fix=error.hint)


def _tell_next(findings: Iterable[Finding], reporter: Reporter) -> None:
    """One command a line, as it can be pasted: what a release needs first."""
    for status, why in ((Status.MISSING, "Needed first"), (Status.WARNING, "Recommended")):
        if open_ones := [finding for finding in findings if finding.status is status]:
            reporter.note(f"{why} (docs/first-release.md):")
            for finding in open_ones:
                reporter.note(f"  {finding.fix or finding.found}")
    if missing := [finding for finding in findings if finding.status is Status.MISSING]:
        raise RefusedError(
            "a release would fail: " + "; ".join(f"{finding.name} ({finding.found})" for finding in missing),
            hint=missing[0].fix,
        )
    reporter.note("Nothing that could be looked at stands in the way of a release.")


def _try_appliance(findings: list[Finding], reporter: Reporter) -> list[Finding]:
    if any(finding.status is Status.MISSING for finding in findings):
        found = "not tried: see what is missing above"
        return [Finding(name="appliance starts", found=found, status=Status.WARNING)]
    with reporter.step("Starting libguestfs's appliance"):
        return with_other(probe(), check_appliance, reporter.note)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
