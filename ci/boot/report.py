"""The boot test's evidence in the forms people and programs read: Markdown, JUnit, the consoles in one file."""

from collections.abc import Sequence
from pathlib import Path

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from ci.boot.checks.load import CHECKS
from ci.boot.start import draw_start
from ci.host.files import publish_together, write_atomic
from ci.host.workspace import exclusive
from ci.records import artifacts
from ci.records.validation import BootResult, CheckResult, Outcome, ValidationReport, way_in
from ci.text.figures import counted, seconds
from ci.text.markdown import Markdown, code, quoted, table, word
from ci.text.pages import markdown_templates, rendered
from ci.text.visible import lines

MAX_CELL = 300
_ORDER = (Outcome.FAILED, Outcome.SKIPPED, Outcome.PASSED)


def count(checks: Sequence[CheckResult]) -> Markdown:
    """How many checks ended how, in words."""
    numbers = {outcome: sum(check.outcome is outcome for check in checks) for outcome in _ORDER}
    return counted(numbers) or Markdown("no checks")


def short(text: str) -> str:
    """`text` cut to what a table cell can show."""
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def boot_row(boot: BootResult) -> list[Markdown]:
    """A boot as a row under BOOT_COLUMNS."""
    times = map(seconds, (boot.login_prompt_seconds, boot.ssh_seconds, boot.total_seconds))
    return [word(boot.name), Markdown("{} MiB").format(boot.memory_mib), Markdown("{}").format(boot.cpus), *times]


BOOT_COLUMNS = ("boot", "memory", "CPUs", "login prompt", "SSH", "whole boot")
START_COLUMNS = ("part of the start", "begins after", "takes")
PICTURES = ((artifacts.BOOT_CHART, "Where the time of a start went"), (artifacts.SIZES_PICTURE, "Where the bytes are"))
CHECK_COLUMNS = ("outcome", "boot", "check", "expected", "actual", "seconds")


def render_markdown(report: ValidationReport, stem: str = "") -> Markdown:
    """The report for people; safe whatever the guest printed. `stem` is that of pictures beside it, '' without any."""
    checks = sorted(report.checks, key=lambda check: _ORDER.index(check.outcome))
    templates = markdown_templates(Path(__file__).parent)
    templates.filters["ours"] = Markdown  # for the words of checks.toml
    return rendered(
        templates,
        "report.md.j2",
        report=report,
        counted=count(report.checks),
        boots=table(BOOT_COLUMNS, [boot_row(boot) for boot in report.boots]),
        checks=table(CHECK_COLUMNS, [_row(check) for check in checks]),
        pictures=PICTURES if stem else (),
        starts=[(boot.name, table(START_COLUMNS, _start(boot))) for boot in report.boots if boot.start],
        known=CHECKS,
        stem=stem,
        code=code,
        quoted=quoted,
        title=_title,
        way_in=lambda image: Markdown("To get into it: {}").format(code(way_in(image))),
        word=word,
    )


def _start(boot: BootResult) -> list[tuple[Markdown, ...]]:
    return [(code(part.name), seconds(part.begin), seconds(part.seconds)) for part in boot.start]


def _row(check: CheckResult) -> list[Markdown]:
    what = Markdown("{} ({})").format(_title(check), word(check.id))
    told = (Markdown(check.outcome), word(check.boot), what, _lines(check.expected), _lines(check.actual))
    return [*told, Markdown("{:.1f}").format(check.seconds)]


def _title(check: CheckResult) -> Markdown:
    known = CHECKS.get(check.id)
    return Markdown(known.title) if known and known.title == check.title else word(check.title)


def _lines(text: str) -> Markdown:
    return Markdown("<br>").join(line for line in short(text).split("\n") if line) or code("")


def render_junit(report: ValidationReport) -> str:
    """The report for CI systems: a suite per boot, a case per check."""
    xml = JUnitXml("validation")
    for boot in dict.fromkeys(check.boot for check in report.checks):
        suite = TestSuite(f"{report.image}: {boot}")
        suite.add_testcases([_case(check, report.image) for check in report.checks if check.boot == boot])
        suite.timestamp = report.started_at.isoformat(timespec="seconds")
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]  # junitparser has no types here
    text: str | bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return text.decode() if isinstance(text, bytes) else text


def _case(check: CheckResult, image: str) -> TestCase:
    case = TestCase(check.id, classname=f"validation.{check.boot}", time=check.seconds)
    if check.outcome is Outcome.FAILED:
        failure = Failure(f"{check.title}: not as expected")
        known = CHECKS[check.id]
        where = f"To repeat it in the guest{', as root' if known.root else ''}"
        asked = f"{where}:\n\n{known.command}\n\nTo get into it: {way_in(image)}"
        repeated = asked if known.command else f"To repeat it by hand: {known.by_hand}"
        seen = f"expected:\n{lines(check.expected)}\n\nactual:\n{lines(check.actual)}"
        parts = [seen, known.why, repeated, f"Where to look: {known.look_for}", f"docs/validation.md#{known.id}"]
        failure.text = "\n\n".join(parts)
        case.result = [failure]
    if check.outcome is Outcome.SKIPPED:
        case.result = [Skipped(lines(check.actual))]
    return case


def render_consoles(consoles: Sequence[tuple[str, str]]) -> str:
    """What each boot wrote to its serial console in one text, each under a header."""
    return "".join(f"{'=' * 20} boot: {boot} {'=' * 20}\n{text.rstrip()}\n\n" for boot, text in consoles)


def publish_evidence(
    report: ValidationReport, consoles: Sequence[tuple[str, str]], folder: Path, output: Path, stem: str
) -> None:
    """Make the evidence appear in `output`, the report last, and nothing of an earlier run beside it."""
    texts = {
        artifacts.REPORT: report.to_json(),
        artifacts.REPORT_JUNIT: render_junit(report),
        artifacts.REPORT_MARKDOWN: render_markdown(report, stem),
        artifacts.CONSOLE_LOG: render_consoles(consoles),
    }
    if start := next((boot for boot in report.boots if boot.start), None):
        texts[artifacts.BOOT_CHART] = draw_start(start, report.accelerator)
    for ending, text in texts.items():
        write_atomic(folder / f"{stem}{ending}", text)
    made = folder / "full" / f"full{artifacts.SCREENSHOT}"
    if made.exists():
        made.rename(folder / f"{stem}{artifacts.SCREENSHOT}")
    pictures = (artifacts.SCREENSHOT, artifacts.BOOT_CHART)
    # A build that publishes the same names at the same time holds this lock too.
    with exclusive(output / ".lock"):
        publish_together(
            sorted(folder.glob(f"{stem}.*")),
            output,
            supersedes=[output / f"{stem}{ending}" for ending in {*texts, *pictures}],
            last=f"{stem}{artifacts.REPORT}",
        )
