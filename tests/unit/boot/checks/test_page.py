import re

import pytest

from ci.boot.checks import page
from ci.boot.checks.load import CHECKS


def test_the_page_is_what_the_checks_make_it() -> None:
    current = page.PAGE.read_text(encoding="utf-8")
    assert current == page.render_page(current), f"write it anew: {page.COMMAND}"


def test_each_check_has_its_heading_and_each_heading_below_the_mark_its_check() -> None:
    _, _, below = page.render_page(page.MARK).partition(page.MARK)
    assert re.findall(r"^### (.*)$", below, flags=re.MULTILINE) == list(CHECKS)


def test_each_command_stands_there_as_it_is_run_and_says_whether_it_needs_root() -> None:
    sections = re.split(r"^### ", page.render_page(page.MARK), flags=re.MULTILINE)[1:]
    for section, check in zip(sections, CHECKS.values(), strict=True):
        assert check.why in section
        assert check.look_for in section
        if check.command:
            assert f"```sh\n{check.command}\n```" in section, check.id
            assert ("In the guest, as root," in section) == check.root, check.id
        else:
            assert check.by_hand in section


def test_what_people_wrote_above_the_mark_stays() -> None:
    assert page.render_page(f"# Ours\n\n{page.MARK}old").startswith(f"# Ours\n\n{page.MARK}\n## Checks: the file")
    with pytest.raises(ValueError, match="has lost the line"):
        page.render_page("# Ours\n")
