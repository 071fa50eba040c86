"""A line of dots over the releases, as numbers: the template only writes them down."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from ci.catalogue.view import ShownRelease
from ci.text import figures

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 26, 30
INSET = 34  # dots keep off the axis, and their values off the border
MOST_RELEASES = 60
MOST_TAGS = 3
TICKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartFigure:
    """A release's figure: the number, how that reads, and what kind it is of. Those that do not compare are hollow."""

    tag: str
    number: float
    text: str
    kind: str = ""
    hollow: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The figures of the releases in `tags`, oldest first; one without a figure leaves its place empty.

    `finest` is the smallest step of the axis, and `level` says what is written at one.
    """

    name: str
    title: str
    tags: Sequence[str]
    figures: Sequence[ChartFigure]
    finest: float
    level: Callable[[float], str]

    @property
    def lines(self) -> list[str]:
        """The points of polylines: one ends where the figures before and after it do not compare."""
        groups = [list(group) for _, group in itertools.groupby(self.figures, key=lambda figure: figure.kind)]
        return [" ".join(f"{self.x(one)},{self.y(one.number)}" for one in group) for group in groups if len(group) > 1]

    @property
    def levels(self) -> list[tuple[float, str]]:
        """The marks on the upright axis: where, and what is written there."""
        step, top = self._scale
        values = [step * number for number in range(round(top / step) + 1)]
        return [(self.y(value), self.level(value)) for value in values]

    @property
    def marks(self) -> list[tuple[float, str, str]]:
        """The first tag, the last and one between, which is all that a phone has room for: where, what, its anchor."""
        last = len(self.tags) - 1
        if last < 1:
            return [(self._x(0), tag, "middle") for tag in self.tags]
        between = [(self._x(last // 2), self.tags[last // 2], "middle")] if last + 1 >= MOST_TAGS else []
        return [
            (self._x(0) - INSET, self.tags[0], "start"),
            *between,
            (self._x(last) + INSET, self.tags[last], "end"),
        ]

    @property
    def summary(self) -> str:
        """The chart in a sentence, for those who do not see it."""
        if not self.figures:
            return "No release has this figure."
        said = [f"{figure.text} in {figure.tag}" for figure in self.figures]
        if len(said) == 1:
            return f"{said[0]}."
        numbers = [figure.number for figure in self.figures]
        low, high = numbers.index(min(numbers)), numbers.index(max(numbers))
        return f"From {said[0]} to {said[-1]}; lowest {said[low]}, highest {said[high]}."

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """A round step and the top of an axis that starts at zero, so that a small change does not look large."""
        highest = 1.05 * max((figure.number for figure in self.figures), default=0.0)  # room for the value above it
        wanted = max(highest / TICKS, self.finest)
        power = 10.0 ** math.floor(math.log10(wanted))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= wanted)
        return step, step * max(1, math.ceil(highest / step))

    def x(self, figure: ChartFigure) -> float:
        """How far to the right the dot of a figure is."""
        return self._x(self.tags.index(figure.tag))

    def y(self, number: float) -> float:
        """How far down a number is."""
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - number / self._scale[1]), 1)

    def _x(self, place: int) -> float:
        width, last = WIDTH - LEFT - RIGHT - 2 * INSET, len(self.tags) - 1
        return round(LEFT + INSET + width * (place / last if last else 0.5), 1)


def draw_charts(releases: Sequence[ShownRelease]) -> list[Chart]:
    """The size of the image file, and the time from the machine's start to SSH. The releases come newest first."""
    shown = releases[:MOST_RELEASES][::-1]
    tags = [release.record.tag for release in shown]
    sizes = [release.record.image.qcow2.size for release in shown]
    boots = [release.boot for release in shown]
    return [
        Chart(
            name="size",
            title="Size of the image",
            tags=tags,
            figures=[
                ChartFigure(tag=tag, number=size, text=figures.size(size))
                for tag, size in zip(tags, sizes, strict=True)
            ],
            finest=1000,
            level=lambda value: figures.size(round(value)).replace(".0 ", " "),
        ),
        Chart(
            name="boot",
            title="From start to SSH",
            tags=tags,
            figures=[
                ChartFigure(
                    tag=tag,
                    number=boot.seconds,
                    text=figures.seconds(boot.seconds),
                    kind=f"{boot.name} {boot.how}",
                    hollow=boot.emulated,
                )
                for tag, boot in zip(tags, boots, strict=True)
                if boot
            ],
            finest=0.1,
            level="{:g} s".format,
        ),
    ]
