"""Bars, one below the other, that can be read on a page and on a phone: of bytes, or of stretches of time."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from ci.text.figures import mebibytes, seconds
from ci.text.pages import page_templates

WIDTH = 420  # in the picture's own units; a page shows it as wide as there is room
HEADING = 26
ROW = 32
NAME_CHARACTERS = 50
TITLE_CHARACTERS = 58


class Bar(NamedTuple):
    """A quantity, or a stretch of time from `begin` on; `value` is how it reads."""

    name: str
    length: float
    value: str
    begin: float = 0.0


class Bars(NamedTuple):
    """Those that share a scale, below a heading of their own if `title` is not empty."""

    title: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        return (HEADING if self.title else 0) + ROW * len(self.bars)

    @property
    def scale(self) -> float:
        """How wide one unit is."""
        return WIDTH / (max((bar.begin + bar.length for bar in self.bars), default=0.0) or 1.0)


def size_bars(sizes: Iterable[tuple[str, int]]) -> list[Bar]:
    """Of names with their KiB."""
    return [Bar(name, kib, mebibytes(kib)) for name, kib in sizes]


def time_bars(stretches: Iterable[tuple[str, float, float]]) -> list[Bar]:
    """Of names with begin and length in seconds."""
    return [Bar(name, length, seconds(length), begin) for name, begin, length in stretches]


def draw_bars(title: str, groups: Sequence[Bars], *, alone: bool) -> Markup:
    """The picture as SVG: `alone` for a file of its own, light or dark as its viewer is, else for a page with a style.

    It holds nothing active, and every text is escaped. A group without bars is left out.
    """
    groups = [group for group in groups if group.bars]
    tops = list(accumulate((group.height for group in groups), initial=HEADING if alone else 0))
    template = _ENVIRONMENT.get_template("bars.svg.j2")
    placed = list(zip(tops, groups, strict=False))
    return Markup(template.render(title=title, placed=placed, height=tops[-1], alone=alone))  # noqa: S704 - escaped there


def _cut(words: str, most: int = NAME_CHARACTERS) -> str:
    """A name, cut; of a path the end is what tells it from its neighbours."""
    if len(words) <= most:
        return words
    return f"…{words[1 - most :]}" if words.startswith("/") else f"{words[: most - 1]}…"


_ENVIRONMENT = page_templates(Path(__file__).parent)
_ENVIRONMENT.globals |= {"WIDTH": WIDTH, "HEADING": HEADING, "TITLE": TITLE_CHARACTERS, "ROW": ROW}
_ENVIRONMENT.filters |= {"cut": _cut, "px": "{:.1f}".format}
