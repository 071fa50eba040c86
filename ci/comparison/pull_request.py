"""What the images of a pull request came to, beside the release before: for its comment and the run's page."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.comparison import packages, words
from ci.comparison.difference import Difference
from ci.comparison.image_facts import ComparedImage, Evidence, difference, of_build, read_build
from ci.host.errors import InputError
from ci.records import artifacts
from ci.records.validation import Outcome, ValidationReport, way_in
from ci.text.figures import change, counted, megabytes, seconds
from ci.text.markdown import BLOCKS, LIST, Markdown, code, file_link, folded, link, table, word

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
) -> Markdown:
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
        Markdown("### Images: good" if good else "### Images: not good"),
        *(_failures(name, one, run) for name in images if (one := found.get(name)) and one.report),
        table(columns, [_row(name, found.get(name), changes.get(name)) for name in images]),
    ]
    tags = {past.tag: past.url for past in before.values()}
    below = [Markdown("Compared with {}.").format(link(word(tag), url)) for tag, url in sorted(tags.items())]
    if run:
        below.append(Markdown("{} has the reports and the logs to download.").format(link("The run", run)))
    for rows in PACKAGE_ROWS:
        details = [block for name in images if name in changes for block in _details(name, changes[name], rows)]
        text = BLOCKS.join(block for block in (*above, *details, *below) if block)
        if len(text.encode()) <= LIMIT:
            return text
    raise InputError("the report is too long even without the packages", hint="See the reports of the run.")


def _row(name: str, evidence: Evidence | None, changes: Difference | None) -> tuple[Markdown, ...]:
    if evidence is None:
        return (code(name), Markdown("**not built**"), *(words.UNKNOWN,) * 4)
    diff, size = changes.packages if changes else None, evidence.build.image.size
    before = changes.old.image_bytes if changes else None
    grown = Markdown("{}" if before is None else "{} ({})")
    return (
        code(name),
        _verdict(evidence.report),
        grown.format(megabytes(size), change((before or size) / 1e6, size / 1e6, "MB")),
        _start(evidence.report, changes),
        packages.summary(diff) if diff else Markdown("{}").format(len(evidence.packages or ())),
        _configuration(changes),
    )


def _configuration(changes: Difference | None) -> Markdown:
    if changes is None:
        return words.UNKNOWN
    if changes.definition_changed and changes.files and not changes.files.empty:
        return words.set_summary(changes.files)
    return words.configuration_summary(changes.definition_changed, changes.files)


def _verdict(report: ValidationReport | None) -> Markdown:
    if report is None:
        return Markdown("**did not end**")
    count = counted({outcome: sum(check.outcome is outcome for check in report.checks) for outcome in Outcome})
    return count if report.passed else Markdown("**{}**").format(count or Markdown("failed"))


def _start(report: ValidationReport | None, changes: Difference | None) -> Markdown:
    """The time of each boot; beside the release's where the two can be compared."""
    if report is None:
        return words.UNKNOWN
    then = {one.boot: one.old for one in (changes.boots if changes else None) or ()}
    parts = []
    for boot in report.boots:
        if (now := boot.ssh_seconds) is not None:
            told = Markdown("{} {} ({})" if boot.name in then else "{} {}")
            parts.append(told.format(boot.name, seconds(now), change(then.get(boot.name, now), now, "s")))
    if changes and changes.boots is None and changes.old.accelerator:
        other = changes.old.accelerator
        parts.append(Markdown("with {}; the release ran with {}").format(report.accelerator, other))
    return LIST.join(parts) or words.UNKNOWN


def _failures(name: str, evidence: Evidence, run: str | None) -> Markdown:
    """The checks that failed, each with a link to what it is, and how all are repeated."""
    failed = evidence.report.failed[:CHECK_ROWS] if evidence.report else ()
    if not failed:
        return Markdown("")
    page = f"{run.partition('/actions/')[0]}/blob/HEAD/docs/validation.md" if run else ""
    rows = []
    for one in failed:
        check = file_link(one.id, f"{page}#{one.id}") if page else code(one.id)
        rows.append((code(name), code(one.boot), check, code(one.expected), code(one.actual)))
    build = ("toolsmith-image", "build", "--image", name, "--version", evidence.build.version)
    told = Markdown("To repeat them, and to get into the machine: {}, then {}.")
    heads = ("image", "boot", "failed check", "expected", "actual")
    return BLOCKS.join(
        [table(heads, rows), told.format(code(shlex.join(build)), code(way_in(evidence.build.image.file)))]
    )


def _details(name: str, changes: Difference, rows: int) -> Iterator[Markdown]:
    """What changed in one image, folded; of each kind no more than `rows` rows."""
    for section in (*words.configuration(changes), words.checks(changes)):
        if section.rows:
            missing = len(section.rows) - rows
            more = [Markdown("{} more not shown here.").format(missing)] if missing > 0 else []
            yield folded(f"{section.title} of", name, BLOCKS.join([section.markdown(rows), *more]))
    if changes.packages and not changes.packages.empty:
        yield folded("Packages of", name, packages.markdown(changes.packages, rows))
