"""Write the part of docs/validation.md that lists all checks."""

import sys

from ci.boot.checks.check import LINES_BELOW, ImageCheck
from ci.boot.checks.load import CHAPTERS, Chapter
from ci.host.files import write_atomic
from ci.host.repository import ROOT

PAGE = ROOT / "docs" / "validation.md"
COMMAND = "python -m ci.boot.checks.page"
BOOTS = ("full", "clone", "consumer", "seed")
# What stands above it is written by hand.
MARK = f"<!-- Made of ci/boot/checks/checks.toml by `{COMMAND}`: what is below is not for editing. -->\n"


def render_page(current: str) -> str:
    """The page with what a person wrote at its top, and the checks of today below."""
    head, mark, _ = current.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} has lost the line that says where the checks begin: {MARK}")
    return head + mark + "".join(_chapter(chapter) for chapter in CHAPTERS)


def _chapter(chapter: Chapter) -> str:
    intro = f"{chapter.intro}\n\n" if chapter.intro else ""
    return f"\n## Checks: {chapter.title}\n\n{intro}" + "\n".join(_check(check) for check in chapter.checks)


def _check(check: ImageCheck) -> str:
    parts = [f"### {check.id}", f"**{check.title}**{_where(check)}. {check.why}"]
    if check.command:
        asked = f"In the guest{', as root' if check.root else ''}, this"
        parts += [f"{asked} prints {check.expected.phrase or check.expected.words}:", f"```sh\n{check.command}\n```"]
        if check.expected.phrase == LINES_BELOW:
            parts.append(f"```text\n{check.expected.words}\n```")
    else:
        parts.append(f"By hand: {check.by_hand}")
    return "\n\n".join([*parts, f"If it fails: {check.look_for}\n"])


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
