"""Compare a release with what was built again from the same inputs; an issue tells what nobody expects.

One issue, which later runs bring up to date. Nothing is closed, and what a person closed is not opened again for the
same differences.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ci.comparison.pull_request import Evidence, read_evidence
from ci.fetch.retry import Patience
from ci.github.context import Context, run_url
from ci.github.failures import nothing_vanishes
from ci.github.issues import Tracker
from ci.github.transfer import Transfer
from ci.host import actions, cli
from ci.host.errors import InputError, RefusedError
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.records.version import Version
from ci.release import drift
from ci.release.drift import Difference, Report
from ci.release.read_back import read_packages_of, read_record_of
from ci.text.markdown import Markdown, link


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.check_drift", __doc__)
    result.add_argument("--tag", default=os.environ.get("TAG", ""), help="the release, vYYYY.MM.DD[.N] [TAG]")
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument(
        "--expected", type=Path, default=ROOT / "build/drift.toml", metavar="FILE", help="default: build/drift.toml"
    )
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--dry-run", action="store_true", help="show the report, and open no issue")
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> int:
    """Compare, and report; raises what docs/exit-codes.md lists."""
    tag = str(Version.parse(options.tag))
    rules = drift.read_rules(options.expected)
    built = read_built(options.dist, tag)
    context = Context.from_environment(environ, repository=options.repository)
    github = Tracker(context, reporter, patience)
    with reporter.step("Comparing with the release"):
        found = _differences(github, tag, built)
    report = Report(tag=tag, url=context.release_url(tag), verdict=drift.judge(found, rules), run=run_url(environ))
    text = report.text()
    reporter.note(text)
    told = Markdown("") if options.dry_run else _tell(github, report, text, reporter)
    actions.append_summary("\n\n".join(filter(None, ["### Drift", told, text])), environ)
    return 0


def read_built(dist: Path, tag: str) -> dict[str, Evidence]:
    """What was built again, by definition; raises InputError where it is of another version."""
    built = read_evidence(dist)
    for name, one in built.items():
        if one.build.version != tag:
            raise InputError(
                f"{name} in {dist} is {one.build.version}, to be compared with {tag}",
                hint=f"Build it again with IMAGE_VERSION={tag}.",
            )
    return built


def _differences(github: Tracker, tag: str, built: Mapping[str, Evidence]) -> list[Difference]:
    release = github.published_release(tag)
    if release is None:
        raise RefusedError(f"{tag} is not published", hint="Only a published release can be compared with.")
    found: list[Difference] = []
    with Transfer(github.context, github.patience) as transfer:
        record = read_record_of(github, transfer, release)
        for image in (record.image, *record.others):
            packages = read_packages_of(github, transfer, release, image)
            found += drift.differences(image, record.commit, packages, built.get(image.definition))
    return found


def _tell(github: Tracker, report: Report, text: Markdown, reporter: Reporter) -> Markdown:
    """Open or update the issue where there is something to tell; returns what was done."""
    issues = [one for one in github.labelled(drift.LABEL) if drift.MARKER in (one.body or "")]
    opened = next((one for one in issues if one.open), None)
    if not report.verdict.unexpected:
        if opened is None:
            return Markdown("")
        reporter.warn(
            f"{opened.html_url} is open, and nothing unexpected was found this time: close it if it is settled"
        )
        return Markdown(f"{link('An issue', opened.html_url)} is still open: close it if it is settled.")
    body = f"{text}\n{report.marker}\n"
    if opened is not None:
        if (opened.title, (opened.body or "").replace("\r\n", "\n").rstrip()) != (report.title, body.rstrip()):
            github.edit_issue(opened, title=report.title, body=body)
        reporter.warn(f"The release differs from what is built now: {opened.html_url}")
        return Markdown(f"{link('The issue', opened.html_url)} is up to date.")
    closed = next((one for one in reversed(issues) if report.marker in (one.body or "")), None)
    if closed is not None:
        reporter.warn(f"The release differs as before, and somebody closed the issue about it: {closed.html_url}")
        return Markdown(f"{link('The issue about it', closed.html_url)} was closed by somebody, and stays so.")
    github.require_label(drift.LABEL, colour="d93f0b", description="A release can no longer be built as it was")
    issue = github.open_issue(title=report.title, body=body, label=drift.LABEL, marker=drift.MARKER)
    reporter.warn(f"The release differs from what is built now: {issue.html_url}")
    return Markdown(f"{link('An issue', issue.html_url)} was opened.")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
