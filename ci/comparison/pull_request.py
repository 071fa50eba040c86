"""What the images of a pull request came to, beside the release before: for its comment and the run's page."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.comparison import packages, words
from ci.comparison.difference import Difference
from ci.comparison.image_facts import ComparedImage, Evidence, difference, of_build, read_build
from ci.host.errors import InputError
from ci.records import artifacts
from ci.records.validation import CheckResult, Outcome, ValidationReport
from ci.text.figures import change, megabytes, seconds
from ci.text.markdown import Markdown, code, link, table

# GitHub takes 65,536 characters for a comment; see ci/release/notes.py.
LIMIT = 50_000
PACKAGE_ROWS = (300, 100, 30, 0)
CHECK_ROWS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """The same image in the release before."""

    tag: str
    url: str
    image: ComparedImage


def read_evidence(folder: Path) -> dict[str, Evidence]:
    """What is in `folder`, by definition; raises InputError where a file is not what its name says."""
    found = [read_build(path) for path in sorted(folder.glob(f"*{artifacts.BUILD}"))]
    for one in found:
        if one.packages is None:
            raise InputError(f"{folder} has no {one.build.name}{artifacts.PACKAGES}", hint="Build the image again.")
    return {one.build.definition: one for one in found}


def _is_good(evidence: Evidence | None) -> bool:
    return evidence is not None and evidence.report is not None and evidence.report.passed


def render(
    images: Sequence[str],
    found: Mapping[str, Evidence],
    before: Mapping[str, Before],
    *,
    good: bool,
    run: str | None,
) -> str:
    """The report in Markdown, with as many packages as there is room for.

    `images` are all that should be there, `good` tells whether their jobs ended well, `run` is their page.
    """
    changes = {
        name: difference(past.image, of_build(one.build.name, one))
        for name, past in before.items()
        if (one := found.get(name))
    }
    good = good and all(_is_good(found.get(name)) for name in images)
    columns = ("image", "boot test", "size", "start to SSH", "packages", "configuration")
    above = [
        f"### Images: {'good' if good else 'not good'}",
        *(_failures(name, one.report.failed, run) for name in images if (one := found.get(name)) and one.report),
        table(columns, [_row(name, found.get(name), changes.get(name)) for name in images]),
    ]
    tags = {past.tag: past.url for past in before.values()}
    below = [f"Compared with {link(tag, url)}." for tag, url in sorted(tags.items())]
    if run:
        below.append(f"{link('The run', run)} has the reports and the logs to download.")
    for rows in PACKAGE_ROWS:
        details = [block for name in images if name in changes for block in _details(name, changes[name], rows)]
        text = "\n\n".join(block for block in (*above, *details, *below) if block) + "\n"
        if len(text.encode()) <= LIMIT:
            return text
    raise InputError("the report is too long even without the packages", hint="See the reports of the run.")


def _row(name: str, evidence: Evidence | None, changes: Difference | None) -> tuple[Markdown, ...]:
    if evidence is None:
        return (code(name), Markdown("**not built**"), *(words.UNKNOWN,) * 4)
    diff, size = changes.packages if changes else None, evidence.build.image.size
    before = changes.old.image_bytes if changes else None
    grown = "" if before is None else f" ({change(before / 1e6, size / 1e6, 'MB')})"
    return (
        code(name),
        _verdict(evidence.report),
        Markdown(f"{megabytes(size)}{grown}"),
        _start(evidence.report, changes),
        Markdown(packages.summary(diff) if diff else f"{len(evidence.packages or ())}"),
        _configuration(changes),
    )


def _configuration(changes: Difference | None) -> Markdown:
    if changes is None:
        return words.UNKNOWN
    if changes.definition_changed and changes.files and not changes.files.empty:
        return Markdown(words.set_summary(changes.files))
    return words.configuration_summary(changes.definition_changed, changes.files)


def _verdict(report: ValidationReport | None) -> Markdown:
    if report is None:
        return Markdown("**did not end**")
    count = {outcome: sum(check.outcome is outcome for check in report.checks) for outcome in Outcome}
    words = ", ".join(f"{number} {outcome}" for outcome, number in count.items() if number)
    return Markdown(words if report.passed else f"**{words or 'failed'}**")


def _start(report: ValidationReport | None, changes: Difference | None) -> Markdown:
    """The time of each boot; beside the release's where the two can be compared."""
    if report is None:
        return words.UNKNOWN
    then = {one.boot: one.old for one in (changes.boots if changes else None) or ()}
    parts = []
    for boot in report.boots:
        if (now := boot.ssh_seconds) is not None:
            changed = f" ({change(then[boot.name], now, 's')})" if boot.name in then else ""
            parts.append(f"{code(boot.name)} {seconds(now)}{changed}")
    if changes and changes.boots is None and changes.old.accelerator:
        parts.append(f"with {code(report.accelerator)}; the release ran with {code(changes.old.accelerator)}")
    return Markdown(", ".join(parts) or words.UNKNOWN)


def _failures(name: str, failed: Sequence[CheckResult], run: str | None) -> Markdown:
    """Each leads to its heading in docs/validation.md, which has the command that repeats it."""

    def named(check: str) -> Markdown:
        home = run.partition("/actions/")[0] if run else ""
        return link(code(check), f"{home}/blob/HEAD/docs/validation.md#{check}") if home else code(check)

    rows = [
        (code(name), code(one.boot), named(one.id), code(one.expected), code(one.actual)) for one in failed[:CHECK_ROWS]
    ]
    return table(("image", "boot", "failed check", "expected", "actual"), rows)


def _details(name: str, changes: Difference, rows: int) -> Iterator[Markdown]:
    """What changed in one image, folded; of each kind no more than `rows` rows."""
    for section in (*words.configuration(changes), words.checks(changes)):
        if section.rows:
            missing = len(section.rows) - rows
            more = f"\n\n{missing} more not shown here." if missing > 0 else ""
            yield _folded(f"{section.title} of {name}", f"{section.markdown(rows)}{more}")
    if changes.packages and not changes.packages.empty:
        yield _folded(f"Packages of {name}", packages.markdown(changes.packages, rows))


def _folded(title: str, text: str) -> Markdown:
    # In a heading of this kind GitHub reads HTML, not Markdown.
    return Markdown(f"<details><summary>{html.escape(title)}</summary>\n\n{text}\n\n</details>")
