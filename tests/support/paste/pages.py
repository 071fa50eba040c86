"""What README.md and docs/ ask a reader to type: blocks of shell, and commands in the middle of a sentence."""

import re
from collections.abc import Iterator
from pathlib import Path

from ci.boot.checks.page import MARK
from ci.host.repository import ROOT

_BLOCK = re.compile(r"^( *)```(?:sh|bash|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_SENTENCE = re.compile(r"(?<!`)`((?:toolsmith-image|make|(?:\./)?(?:scripts|build)/[\w-]+\.sh)(?: [^`]*)?)`(?!`)")


def pages() -> list[Path]:
    """All pages for people."""
    return [ROOT / "README.md", *sorted(ROOT.glob("*/*.md"))]


def read(page: Path) -> str:
    """A page without what is typed in a guest, of which the boot test runs every line."""
    return page.read_text(encoding="utf-8").partition(MARK)[0]


def blocks(page: Path) -> Iterator[str]:
    """The page's blocks of shell, in their order."""
    for indent, block in _BLOCK.findall(read(page)):
        yield "".join(line.removeprefix(indent) for line in block.splitlines(keepends=True))


def sentences(page: Path) -> list[str]:
    """The commands that stand in its sentences, each once. A line may end within one."""
    text = _BLOCK.sub("", read(page))
    return sorted({re.sub(r"\s+", " ", found).replace("\\|", "|") for found in _SENTENCE.findall(text)})


def needs_the_clone(commands: str) -> bool:
    """Whether it is to be typed in the repository's folder, as its own paths tell."""
    return bool(re.search(r"(?<![\w/-])(make|git (?!clone)|(\./|\$PWD/)?(build|dist|scripts)/)", commands))
