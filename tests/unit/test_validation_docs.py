import re
from pathlib import Path

from ci.boot.boot import Bench
from ci.boot.checks.check import Check, CommandCheck
from ci.boot.image_file import IMAGE_CHECKS
from ci.boot.scenarios import CLONE_COMPARISONS, SCENARIOS
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.repository import ROOT

DOCS = ROOT / "docs" / "validation.md"


def planned_checks() -> list[Check | CommandCheck]:
    bench = Bench(image=Path("image.qcow2"), acceleration=Acceleration(accelerator=Accelerator.TCG, reason="chosen"))
    return [*IMAGE_CHECKS, *CLONE_COMPARISONS, *(check for make in SCENARIOS for check in make(bench).planned)]


def documented() -> dict[str, str]:
    """The text under each check's heading."""
    parts = re.split(r"^## ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = [part for part in parts if part.startswith("Checks: ")]
    texts = [text for section in sections for text in re.split(r"^### ", section, flags=re.MULTILINE)[1:]]
    headings = [text.partition("\n")[0] for text in texts]
    assert len(headings) == len(set(headings))
    return dict(zip(headings, texts, strict=True))


def test_each_check_has_its_heading_and_each_heading_its_check() -> None:
    assert set(documented()) == {check.id for check in planned_checks()}


def test_each_command_is_documented_as_it_is_run() -> None:
    texts = documented()
    for check in planned_checks():
        if isinstance(check, CommandCheck):
            assert f"```sh\n{check.command}\n```" in texts[check.id], check.id
            assert ("In the guest, as root:" in texts[check.id]) == check.root, check.id


def test_each_check_says_what_it_guards_and_what_a_person_should_see() -> None:
    for heading, text in documented().items():
        prose = re.sub(r"```sh\n.*?```", "", text, flags=re.DOTALL).splitlines()[1:]
        assert len([line for line in prose if line and not line.startswith("In the guest")]) >= 2, heading


def test_an_id_is_one_check_in_all_boots() -> None:
    titles: dict[str, str] = {}
    for check in planned_checks():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", check.id)
        assert titles.setdefault(check.id, check.title) == check.title


def test_no_boot_plans_a_check_twice() -> None:
    bench = Bench(image=Path("image.qcow2"), acceleration=Acceleration(accelerator=Accelerator.TCG, reason="chosen"))
    for make in SCENARIOS:
        ids = [check.id for check in make(bench).planned]
        assert len(ids) == len(set(ids))
