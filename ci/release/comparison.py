"""What the images of a pull request came to, beside the release before: for its comment and the run's page."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import InputError
from ci.records.build import BuildRecord
from ci.records.packages import Package, PackageDiff, read_packages
from ci.records.record import read_record
from ci.records.release import ImageRelease
from ci.records.validation import CheckResult, Outcome, ValidationReport
from ci.release import packages
from ci.release.markdown import Markdown, code, link, table

# GitHub takes 65,536 characters for a comment; see ci/release/notes.py.
LIMIT = 50_000
PACKAGE_ROWS = (300, 100, 30, 0)
CHECK_ROWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the job of one image left; `report` is None where its boot test did not come to an end."""

    build: BuildRecord
    packages: tuple[Package, ...]
    report: ValidationReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The same image in the release before; `changes` is None where its packages are not known."""

    tag: str
    url: str
    image: ImageRelease
    changes: PackageDiff | None


def read_evidence(folder: Path) -> dict[str, Evidence]:
    """What is in `folder`, by definition; raises InputError where a file is not what its name says."""
    found = {}
    for path in sorted(folder.glob("*.build.json")):
        build = read_record(path, BuildRecord)
        listed, tested = (
            path.with_name(path.name.replace(".build.json", ending)) for ending in (".packages.tsv", ".validation.json")
        )
        found[build.definition] = Evidence(
            build=build,
            packages=read_packages(_text(listed), listed.name),
            report=read_record(tested, ValidationReport) if tested.exists() else None,
        )
    return found


def is_good(evidence: Evidence | None) -> bool:
    """True where an image was built and passed its boot test."""
    return evidence is not None and evidence.report is not None and evidence.report.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What was checked: `images` are all that should be there, `good` is how their jobs ended, `run` their page."""

    images: Sequence[str]
    found: Mapping[str, Evidence]
    before: Mapping[str, Before]
    good: bool
    run: str | None


def render(check: Check) -> str:
    """The report in Markdown, with as many packages as there is room for."""
    for rows in PACKAGE_ROWS:
        text = _render(check, rows)
        if len(text.encode()) <= LIMIT:
            return text
    raise InputError("the report is too long even without the packages", hint="See the reports of the run.")


def _render(check: Check, rows: int) -> str:
    images, found, before = check.images, check.found, check.before
    good = check.good and all(is_good(found.get(name)) for name in images)
    columns = ("image", "boot test", "size", "start to SSH", "packages")
    blocks = [
        f"### Images: {'good' if good else 'not good'}",
        table(columns, [_row(name, found.get(name), before.get(name)) for name in images]),
    ]
    blocks += [_failures(name, one.report.checks) for name in images if (one := found.get(name)) and one.report]
    blocks += [_packages(name, past.changes, rows) for name in images if (past := before.get(name)) and past.changes]
    tags = {past.tag: past.url for past in before.values()}
    blocks += [f"Compared with {link(tag, url)}." for tag, url in sorted(tags.items())]
    if check.run:
        blocks.append(f"{link('The run', check.run)} has the images, the reports and the logs to download.")
    return "\n\n".join(block for block in blocks if block) + "\n"


def _row(name: str, evidence: Evidence | None, before: Before | None) -> tuple[Markdown, ...]:
    if evidence is None:
        return (code(name), Markdown("**not built**"), *(Markdown("-"),) * 3)
    size = evidence.build.image.size
    return (
        code(name),
        _verdict(evidence.report),
        Markdown(f"{size / 1e6:,.1f} MB{_change((size - before.image.qcow2.size) / 1e6, 'MB') if before else ''}"),
        _start(evidence.report, before),
        Markdown(packages.summary(before.changes) if before and before.changes else f"{len(evidence.packages)}"),
    )


def _verdict(report: ValidationReport | None) -> Markdown:
    if report is None:
        return Markdown("**did not end**")
    count = {outcome: sum(check.outcome is outcome for check in report.checks) for outcome in Outcome}
    words = ", ".join(f"{number} {outcome}" for outcome, number in count.items() if number)
    return Markdown(words if report.passed else f"**{words or 'failed'}**")


def _start(report: ValidationReport | None, before: Before | None) -> Markdown:
    """The time of each boot; beside the release's only where both ran with the same accelerator."""
    if report is None:
        return Markdown("-")
    past = before.image.validation if before else None
    comparable = past is not None and past.accelerator == report.accelerator
    parts = []
    for boot in report.boots:
        if boot.ssh_seconds is not None:
            then = past.ssh_seconds.get(boot.name) if past and comparable else None
            change = _change(boot.ssh_seconds - then, "s") if then is not None else ""
            parts.append(f"{code(boot.name)} {boot.ssh_seconds:.1f} s{change}")
    if past and not comparable:
        parts.append(f"with {code(report.accelerator)}; the release ran with {code(past.accelerator)}")
    return Markdown(", ".join(parts) or "-")


def _change(difference: float, unit: str) -> str:
    return f" ({difference:+,.1f} {unit})" if abs(difference) >= 0.05 else " (unchanged)"


def _failures(name: str, checks: Sequence[CheckResult]) -> Markdown:
    failed = [check for check in checks if check.outcome is Outcome.FAILED]
    rows = [tuple(map(code, (name, one.boot, one.id, one.expected, one.actual))) for one in failed[:CHECK_ROWS]]
    return table(("image", "boot", "failed check", "expected", "actual"), rows)


def _packages(name: str, changes: PackageDiff, rows: int) -> Markdown:
    if changes.empty:
        return Markdown("")
    tables = packages.markdown(changes, rows)
    # In a heading of this kind GitHub reads HTML, not Markdown.
    return Markdown(f"<details><summary>Packages of {html.escape(name)}</summary>\n\n{tables}\n\n</details>")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
