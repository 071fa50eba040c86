import html
import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime

import pytest
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from ci.boot import report
from ci.boot.checks.load import CHECKS
from ci.records.validation import BootResult, CheckResult, Outcome, ValidationReport
from ci.text.visible import lines

HOSTILE = [
    "a | b || c",
    "first\nsecond\n\nthird",
    "]]> <![CDATA[ &amp; </failure>",
    "\x1b[31mred\x1b[0m \x00 \x08 \x0b \x7f \x9b",
    "\udcff \ufffe \uffff \u2028",
    "</pre><script>alert(1)</script>",
    "`code` *bold* _it_ [link](http://x) ![i](y) ~~s~~ # @someone #1",
    "tab\there\r\nand carriage\rreturn",
    "\N{SNOWMAN} \N{GRINNING FACE}",
]


def check(
    actual: str, outcome: Outcome = Outcome.FAILED, check_id: str = "git-runs", boot: str = "full"
) -> CheckResult:
    return CheckResult(
        id=check_id, boot=boot, title="A check", expected=actual, actual=actual, outcome=outcome, seconds=1.25
    )


def make_report(checks: list[CheckResult]) -> ValidationReport:
    return ValidationReport(
        image="image.qcow2",
        image_sha256="a" * 64,
        version="v2026.11.23",
        passed=not any(check.outcome is Outcome.FAILED for check in checks),
        started_at=datetime(2026, 11, 23, 8, tzinfo=UTC),
        accelerator="tcg",
        accelerator_reason="/dev/kvm does not exist",
        qemu="QEMU emulator version 7.2",
        boots=[
            BootResult(
                name="full", memory_mib=2048, cpus=2, login_prompt_seconds=30.0, ssh_seconds=None, total_seconds=60.04
            )
        ],
        checks=checks,
        seconds=100.0,
    )


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("outcome", Outcome)
def test_junit_is_well_formed_whatever_the_guest_printed(text: str, outcome: Outcome) -> None:
    xml = report.render_junit(make_report([check(text, outcome)]))
    root = ET.fromstring(xml.encode("utf-8"))  # noqa: S314 - our own text
    case = root.find("./testsuite/testcase")
    assert case is not None
    assert case.get("name") == "git-runs"
    if outcome is Outcome.FAILED:
        assert "expected:" in (case.findtext("failure") or "")


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_tables_keep_their_columns_whatever_the_guest_printed(text: str) -> None:
    markdown = report.render_markdown(make_report([check(text)]))
    for line in markdown.splitlines():
        if line.startswith("|") and "---" not in line:
            assert len(re.findall(r"(?<!\\)\|", line)) == 7
    assert "<script" not in MarkdownIt("commonmark").enable("table").render(markdown)
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", markdown) is None


@pytest.mark.parametrize("text", ["@someone", "see #1", r"\@someone", "a@b.example"])
def test_nobody_is_mentioned_by_what_the_guest_printed(text: str) -> None:
    markdown = report.render_markdown(make_report([check(text)]))
    outside_code = re.sub(r"<(code|pre)>.*?</\1>", "", MarkdownIt("commonmark").enable("table").render(markdown))
    assert not re.search(r"[@#]\w", outside_code)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_failure_is_quoted_whole_and_cannot_leave_its_block(text: str) -> None:
    markdown = report.render_markdown(make_report([check(text)]))
    blocks = re.findall(r"<pre>(.*?)</pre>", markdown, re.DOTALL)
    assert len(blocks) == 2
    assert not any("\n\n" in block for block in blocks)
    assert not any("<" in block for block in blocks)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_report_survives_its_json(text: str) -> None:
    written = make_report([check(lines(text))])
    assert ValidationReport.model_validate(json.loads(written.to_json().encode("utf-8"))) == written


@pytest.mark.parametrize("check_id", ["failed-units", "dpkg-audit", "clock"])
def test_a_failed_check_says_why_it_matters_how_to_repeat_it_and_where_to_look(check_id: str) -> None:
    known = CHECKS[check_id]
    failed = make_report([check("x", check_id=check_id)])
    as_root = "as root:" if known.root else ""
    for text in (report.render_markdown(failed), html.unescape(report.render_junit(failed))):
        for words in (known.why, known.look_for, known.by_hand, known.command, as_root):
            assert words in text
        assert f"docs/validation.md#{check_id}" in text
        assert ("toolsmith-image validate dist/" in text and "--keep-running" in text) == bool(known.command)
    assert known.why not in report.render_markdown(make_report([check("x", Outcome.PASSED, check_id)]))


def test_failed_checks_come_first_then_skipped_ones_in_their_order() -> None:
    checks = [
        check("", Outcome.PASSED, "p1"),
        check("", Outcome.SKIPPED, "s1"),
        check("", Outcome.FAILED, "clock"),
        check("", Outcome.PASSED, "p2"),
        check("", Outcome.FAILED, "swap"),
    ]
    markdown = report.render_markdown(make_report(checks))
    assert markdown.index("Failed: A check (full, clock)") < markdown.index("Failed: A check (full, swap)")
    rows = re.findall(r"^\| (?:failed|skipped|passed) \|.*A check \((\w+)\)", markdown, re.MULTILINE)
    assert rows == ["clock", "swap", "s1", "p1", "p2"]


def test_markdown_names_the_verdict_the_boots_and_the_numbers() -> None:
    markdown = report.render_markdown(make_report([check("", Outcome.PASSED), check("", Outcome.SKIPPED)]))
    assert "# Validation of `image.qcow2`: passed" in markdown
    assert "1 skipped, 1 passed in 100 s" in markdown
    assert "| full | 2048 MiB | 2 | 30.0 s | - | 60.0 s |" in markdown
    assert ": failed" in report.render_markdown(make_report([check("x")]))


def test_a_long_answer_is_cut_in_the_table_only() -> None:
    text = "x" * 5000
    markdown = report.render_markdown(make_report([check(text)]))
    rows = [line for line in markdown.splitlines() if line.startswith("| failed")]
    assert text in markdown
    assert text not in rows[0]


def test_junit_counts_failures_and_skips_per_boot() -> None:
    checks = [
        check("", Outcome.PASSED),
        check("", Outcome.FAILED),
        check("why", Outcome.SKIPPED),
        check("", Outcome.PASSED, boot="clone"),
    ]
    xml = JUnitXml.fromstring(report.render_junit(make_report(checks)))
    assert (xml.tests, xml.failures, xml.skipped) == (4, 1, 1)
    assert [suite.name for suite in xml] == ["image.qcow2: full", "image.qcow2: clone"]


def test_all_consoles_are_in_one_text_under_their_names() -> None:
    text = report.render_consoles([("full", "one\n\n\n"), ("clone", "two")])
    lines = text.splitlines()
    assert [line for line in lines if line.strip("= ")] == [lines[0], "one", lines[3], "two"]
    assert "boot: full" in lines[0]
    assert "boot: clone" in lines[3]
