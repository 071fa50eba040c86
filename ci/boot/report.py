"""The boot test's evidence in the forms people and programs read: Markdown, JUnit, the consoles in one file."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Template
from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from ci.boot.checks.load import CHECKS
from ci.boot.start import draw_start
from ci.host.files import publish_together, write_atomic
from ci.host.workspace import exclusive
from ci.records import artifacts
from ci.records.validation import BootResult, CheckResult, Outcome, ValidationReport
from ci.text.figures import seconds
from ci.text.markdown import Markdown, code, table, visible

MAX_CELL = 300
TEMPLATE = Template(
    Path(__file__).with_name("report.md.j2").read_text(encoding="utf-8"), trim_blocks=True, keep_trailing_newline=True
)

# What XML 1.0 cannot hold, and what would move a terminal's cursor: https://www.w3.org/TR/xml/#charsets
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufffe\uffff]")

_ORDER = (Outcome.FAILED, Outcome.SKIPPED, Outcome.PASSED)


def printable(text: str) -> str:
    """`text` with what is neither printable, a tab nor a line's end written as its code."""
    return _UNPRINTABLE.sub(lambda match: visible(match.group()), text.replace("\r\n", "\n"))


def count(checks: Sequence[CheckResult]) -> str:
    """How many checks ended how, in words."""
    numbers = [(outcome, sum(check.outcome is outcome for check in checks)) for outcome in _ORDER]
    return ", ".join(f"{number} {outcome}" for outcome, number in numbers if number) or "no checks"


def short(text: str) -> str:
    """`text` cut to what a table cell can show."""
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def boot_row(boot: BootResult) -> list[Markdown]:
    """A boot as a row under BOOT_COLUMNS."""
    times = map(seconds, (boot.login_prompt_seconds, boot.ssh_seconds, boot.total_seconds))
    return [Markdown(cell) for cell in (boot.name, f"{boot.memory_mib} MiB", boot.cpus, *times)]


BOOT_COLUMNS = ("boot", "memory", "CPUs", "login prompt", "SSH", "whole boot")
START_COLUMNS = ("part of the start", "begins after", "takes")
PICTURES = ((artifacts.BOOT_CHART, "Where the time of a start went"), (artifacts.SIZES_PICTURE, "Where the bytes are"))
CHECK_COLUMNS = ("outcome", "boot", "check", "expected", "actual", "seconds")


def render_markdown(report: ValidationReport, stem: str = "") -> str:
    """The report for people; safe whatever the guest printed. `stem` is that of pictures beside it, '' without any."""
    checks = sorted(report.checks, key=lambda check: _ORDER.index(check.outcome))
    text: str = TEMPLATE.render(
        report=report,
        counted=count(report.checks),
        boots=table(BOOT_COLUMNS, [boot_row(boot) for boot in report.boots]),
        checks=table(CHECK_COLUMNS, [_row(check) for check in checks]),
        pictures=PICTURES if stem else (),
        starts=[(boot.name, table(START_COLUMNS, _start(boot))) for boot in report.boots if boot.start],
        known=CHECKS,
        stem=stem,
        code=code,
        quoted=_quoted,
    )
    return text


def _start(boot: BootResult) -> list[tuple[Markdown, ...]]:
    return [(code(part.name), Markdown(seconds(part.begin)), Markdown(seconds(part.seconds))) for part in boot.start]


def _row(check: CheckResult) -> list[Markdown]:
    what = Markdown(f"{check.title} ({check.id})")
    told = (check.outcome, check.boot, what, _lines(check.expected), _lines(check.actual), f"{check.seconds:.1f}")
    return [Markdown(each) for each in told]


def _lines(text: str) -> str:
    return "<br>".join(code(line) for line in short(text).split("\n") if line) or code("")


def _quoted(text: str) -> str:
    # An empty line would end the HTML block in some renderers.
    return f"<pre>{html.escape(printable(text))}</pre>".replace("\n\n", "\n&#8203;\n")


def render_junit(report: ValidationReport) -> str:
    """The report for CI systems: a suite per boot, a case per check."""
    xml = JUnitXml("validation")
    for boot in dict.fromkeys(check.boot for check in report.checks):
        suite = TestSuite(f"{report.image}: {boot}")
        suite.add_testcases([_case(check) for check in report.checks if check.boot == boot])
        suite.timestamp = report.started_at.isoformat(timespec="seconds")
        xml.add_testsuite(suite)
    xml.update_statistics()  # type: ignore[no-untyped-call]  # junitparser has no types here
    text: str | bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return text.decode() if isinstance(text, bytes) else text


def _case(check: CheckResult) -> TestCase:
    case = TestCase(check.id, classname=f"validation.{check.boot}", time=check.seconds)
    if check.outcome is Outcome.FAILED:
        failure = Failure(f"{check.title}: not as expected")
        known = CHECKS[check.id]
        asked = f"To repeat it in the guest{', as root' if known.root else ''}:\n\n{known.command}"
        repeated = asked if known.command else f"To repeat it by hand: {known.by_hand}"
        seen = f"expected:\n{printable(check.expected)}\n\nactual:\n{printable(check.actual)}"
        parts = [seen, known.why, repeated, f"Where to look: {known.look_for}"]
        failure.text = "\n\n".join(parts)
        case.result = [failure]
    if check.outcome is Outcome.SKIPPED:
        case.result = [Skipped(printable(check.actual))]
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
