"""Write the part of docs/validation.md that lists all checks."""

import sys
from pathlib import Path

from jinja2 import Template

from ci.boot.checks.check import LINES_BELOW, ImageCheck
from ci.boot.checks.load import CHAPTERS
from ci.host.files import write_atomic
from ci.host.repository import ROOT

PAGE = ROOT / "docs" / "validation.md"
TEMPLATE = Path(__file__).with_name("page.md.j2")
COMMAND = "make generated"
BOOTS = ("full", "clone", "consumer", "seed")
# What stands above it is written by hand.
MARK = f"<!-- Made of ci/boot/checks/checks.toml by `{COMMAND}`: what is below is not for editing. -->\n"


def render_page(current: str) -> str:
    """The page with what a person wrote at its top, and the checks of today below."""
    head, mark, _ = current.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} has lost the line that says where the checks begin: {MARK}")
    template = Template(TEMPLATE.read_text(encoding="utf-8"), trim_blocks=True, keep_trailing_newline=True)
    checks: str = template.render(chapters=CHAPTERS, where=_where, lines_below=LINES_BELOW)
    return head + mark + checks


def _where(check: ImageCheck) -> str:
    if check.boots == ("image",):
        return ""
    boots = ", ".join(f"`{boot}`" for boot in check.boots)
    return f" ({'every boot' if check.boots == BOOTS else boots.replace('+', '` and `')})"


def main() -> int:
    """Write the page anew."""
    write_atomic(PAGE, render_page(PAGE.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
