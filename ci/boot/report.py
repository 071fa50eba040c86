"""The boot test's evidence in the forms people and programs read: Markdown, JUnit, the consoles in one file."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from ci.records.validation import BootResult, CheckResult, Outcome, ValidationReport

MAX_CELL = 300

# What XML 1.0 cannot hold, and what would move a terminal's cursor: https://www.w3.org/TR/xml/#charsets
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\ufffe\uffff]")
_MARKDOWN = re.compile(r"([\\`*_\[\]~|#@])")

_REFERENCE = re.compile(r"([@#])(?=\w)")

_ORDER = {Outcome.FAILED: 0, Outcome.SKIPPED: 1, Outcome.PASSED: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What one boot wrote to its serial console."""

    boot: str
    text: str


def printable(text: str) -> str:
    """`text` with what is neither printable, a tab nor a line's end written as its code."""
    return _UNPRINTABLE.sub(lambda match: _code(match.group()), text.replace("\r\n", "\n"))


def _code(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def failed_first(checks: Sequence[CheckResult]) -> list[CheckResult]:
    """Failed checks, then skipped ones, then the rest; otherwise in their order."""
    return sorted(checks, key=lambda check: _ORDER[check.outcome])


def count(checks: Sequence[CheckResult]) -> str:
    """How many checks ended how, in words."""
    numbers = [(outcome, sum(check.outcome is outcome for check in checks)) for outcome in _ORDER]
    return ", ".join(f"{number} {outcome}" for outcome, number in numbers if number) or "no checks"


def short(text: str) -> str:
    """`text` cut to what a table cell can show."""
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}…"


def seconds(value: float | None) -> str:
    """A time, or a dash for a point that was not reached."""
    return "-" if value is None else f"{value:.1f} s"


def boot_row(boot: BootResult) -> list[str]:
    """A boot as a row under BOOT_COLUMNS."""
    return [
        boot.name,
        f"{boot.memory_mib} MiB",
        str(boot.cpus),
        seconds(boot.login_prompt_seconds),
        seconds(boot.ssh_seconds),
        seconds(boot.total_seconds),
    ]


BOOT_COLUMNS = ("boot", "memory", "CPUs", "login prompt", "SSH", "whole boot")


def render_markdown(report: ValidationReport) -> str:
    """The report for people; safe whatever the guest printed."""
    verdict = "passed" if report.passed else "failed"
    lines = [
        f"# Validation of {_cell(report.image)}: {verdict}",
        "",
        f"{count(report.checks)} in {report.seconds:.0f} s.",
        "",
        f"{_cell(report.qemu)}, with {_cell(report.accelerator)}: {_cell(report.accelerator_reason)}.",
        "",
        f"SHA-256 `{report.image_sha256}`",
        "",
        *_table(BOOT_COLUMNS, [boot_row(boot) for boot in report.boots]),
        "",
    ]
    for check in report.checks:
        if check.outcome is Outcome.FAILED:
            lines += _failure(check)
    lines += ["## Checks", ""]
    lines += _table(
        ("outcome", "boot", "check", "expected", "actual", "seconds"),
        [
            [
                check.outcome,
                check.boot,
                f"{check.title} ({check.id})",
                short(check.expected),
                short(check.actual),
                f"{check.seconds:.1f}",
            ]
            for check in failed_first(report.checks)
        ],
    )
    return "\n".join(lines) + "\n"


def _failure(check: CheckResult) -> list[str]:
    return [
        f"## Failed: {_cell(check.title)} ({_cell(check.boot)}, {_cell(check.id)})",
        "",
        "Expected:",
        "",
        f"<pre>{_preformatted(check.expected)}</pre>",
        "",
        "Actual:",
        "",
        f"<pre>{_preformatted(check.actual)}</pre>",
        "",
    ]


def _preformatted(text: str) -> str:
    # An empty line would end the HTML block in some renderers.
    return html.escape(printable(text)).replace("\n\n", "\n&#8203;\n")


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]


def _cell(text: str) -> str:
    escaped = _MARKDOWN.sub(r"\\\1", html.escape(printable(text), quote=False))
    # An escaped mention still notifies somebody: https://github.com/github/cmark-gfm/issues/181
    return _REFERENCE.sub("\\1\u200b", escaped).replace("\t", " ").replace("\n", "<br>")


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
    match check.outcome:
        case Outcome.FAILED:
            failure = Failure(f"{check.title}: not as expected")
            failure.text = f"expected:\n{printable(check.expected)}\n\nactual:\n{printable(check.actual)}"
            case.result = [failure]
        case Outcome.SKIPPED:
            case.result = [Skipped(printable(check.actual))]
        case Outcome.PASSED:
            pass
    return case


def render_console(consoles: Sequence[Console]) -> str:
    """All consoles in one text, each under a header."""
    return "".join(f"{'=' * 20} boot: {console.boot} {'=' * 20}\n{console.text.rstrip()}\n\n" for console in consoles)
