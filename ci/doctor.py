"""Check whether this machine can build and boot an image; for what is missing, print the exact fix."""

import argparse
import sys

from ci.host import cli
from ci.host.accelerator import probe, with_other
from ci.host.appliance.check import check_appliance
from ci.host.prerequisites import Finding, Status, check_accelerator, quick_findings, raise_for
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.host.workspace import cache_folder


def arguments() -> argparse.ArgumentParser:
    parser = cli.parser("toolsmith-image doctor", __doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the start of libguestfs's appliance")
    return parser


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    with reporter.step("Looking at this machine"):
        findings = [*quick_findings(ROOT / "dist", cache_folder()), check_accelerator()]
    if not options.quick:
        findings += _try_appliance(findings, reporter)
    rows = [(finding.name, finding.found, finding.status, finding.fix) for finding in findings]
    reporter.table("Prerequisites", ("what", "found", "status", "fix"), rows)
    raise_for(findings)
    reporter.note("This machine can build and boot images.")


def _try_appliance(findings: list[Finding], reporter: Reporter) -> list[Finding]:
    if any(finding.status is Status.MISSING for finding in findings):
        found = "not tried: see what is missing above"
        return [Finding(name="appliance starts", found=found, status=Status.WARNING)]
    with reporter.step("Starting libguestfs's appliance"):
        return with_other(probe(), check_appliance, reporter.note)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
