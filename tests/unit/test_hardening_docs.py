"""docs/hardening.md: what is done is checked, and what is not says why."""

import re

from ci.boot.checks.load import CHAPTERS, CHECKS
from ci.host.repository import ROOT

TEXT = (ROOT / "docs" / "hardening.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in row.strip("|").split(" | ")]
    for row in re.findall(r"^\|.*\|$", TEXT.partition("## What CIS asks for")[2].partition("\n## ")[0], re.MULTILINE)[
        2:
    ]
]


def test_each_row_says_whether_it_is_done() -> None:
    assert len(ROWS) > 20
    assert {re.split("[: ]", state)[0] for _, state, _ in ROWS} == {"done", "partly", "not"}


def test_what_is_done_names_a_check_of_the_boot_test_first() -> None:
    for asked, state, proof in ROWS:
        if state == "done":
            assert re.match("`([a-z0-9-]+)`", proof), asked


def test_each_name_is_that_of_a_check() -> None:
    for _, _, proof in ROWS:
        for name in re.findall("`([a-z0-9-]+)`", proof):
            assert name in CHECKS or name in {"runcmd", "ntp"}, name


def test_each_check_of_the_chapter_is_named() -> None:
    (chapter,) = (one for one in CHAPTERS if one.title == "hardening")
    assert {check.id for check in chapter.checks} <= {
        name for *_, proof in ROWS for name in re.findall("`(.*?)`", proof)
    }


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)[)#]", TEXT):
        assert (ROOT / "docs" / target).exists(), target
