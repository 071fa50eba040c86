"""A line of dots over the releases, as numbers: the template only writes them down."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ci.catalogue.view import ShownRelease
from ci.text import figures

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 26, 30
INSET = 34  # dots keep off the axis, and their values off the border
MOST_RELEASES = 60
MOST_VALUES = 4  # beyond, values written above their dots would run into each other
MOST_TAGS = 3
TICKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartFigure:
    """A release's figure: the number, how that reads, and what kind it is of. Those that do not compare are hollow."""

    number: float
    text: str
    kind: str = ""
    hollow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartDot:
    """One release's figure, which is written beside the dot where `shown`."""

    x: float
    y: float
    tag: str
    figure: ChartFigure
    shown: bool

    @property
    def detail(self) -> str:
        """What is told of the dot that is pointed at."""
        return f"{self.tag}: {self.figure.text}" + (f", boot {self.figure.kind}" if self.figure.kind else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartTick:
    """A mark on an axis, `at` its position."""

    at: float
    label: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`lines` are the points of polylines: one ends where the figures before and after it do not compare."""

    name: str
    title: str
    summary: str
    dots: Sequence[ChartDot]
    lines: Sequence[str]
    levels: Sequence[ChartTick]
    tags: Sequence[ChartTick]


def size_chart(releases: Sequence[ShownRelease]) -> Chart:
    """The size of the image file over the releases, which come newest first."""

    def figure(release: ShownRelease) -> ChartFigure:
        size = release.record.image.qcow2.size
        return ChartFigure(number=size, text=figures.size(size))

    def level(value: float) -> str:
        return figures.size(round(value)).replace(".0 ", " ")

    return _chart("size", "Size of the image", releases, figure, finest=1000, level=level)


def boot_chart(releases: Sequence[ShownRelease]) -> Chart:
    """The time from the start of the machine to SSH; a release without one leaves its place empty."""

    def figure(release: ShownRelease) -> ChartFigure | None:
        if not (boot := release.boot):
            return None
        text, kind = figures.seconds(boot.seconds), f"{boot.name} {boot.how}"
        return ChartFigure(number=boot.seconds, text=text, kind=kind, hollow=boot.emulated)

    return _chart("boot", "From start to SSH", releases, figure, finest=0.1, level="{:g} s".format)


def _chart(
    name: str,
    title: str,
    releases: Sequence[ShownRelease],
    figure_of: Callable[[ShownRelease], ChartFigure | None],
    *,
    finest: float,
    level: Callable[[float], str],
) -> Chart:
    tags = [one.record.tag for one in reversed(releases[:MOST_RELEASES])]
    found = [(place, figure_of(one)) for place, one in enumerate(reversed(releases[:MOST_RELEASES]))]
    measured = [(place, figure) for place, figure in found if figure]
    step, top = _scale(max((figure.number for _, figure in measured), default=0.0), finest)
    few = len(measured) <= MOST_VALUES
    dots = [
        ChartDot(
            x=_x(place, len(tags)),
            y=_y(figure.number, top),
            tag=tags[place],
            figure=figure,
            shown=few or number in {0, len(measured) - 1},
        )
        for number, (place, figure) in enumerate(measured)
    ]
    values = [step * number for number in range(round(top / step) + 1)]
    return Chart(
        name=name,
        title=title,
        summary=_summary(dots),
        dots=dots,
        lines=list(_lines(dots)),
        levels=[ChartTick(at=_y(value, top), label=level(value), anchor="end") for value in values],
        tags=list(_tags(tags)),
    )


def _scale(highest: float, finest: float) -> tuple[float, float]:
    """A round step and the top of an axis that starts at zero, so that a small change does not look large."""
    highest *= 1.05  # room for the value above the highest dot
    wanted = max(highest / TICKS, finest)
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= wanted)
    return step, step * max(1, math.ceil(highest / step))


def _x(place: int, count: int) -> float:
    width = WIDTH - LEFT - RIGHT - 2 * INSET
    return round(LEFT + INSET + width * (place / (count - 1) if count > 1 else 0.5), 1)


def _y(number: float, top: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - number / top), 1)


def _lines(dots: Sequence[ChartDot]) -> Iterator[str]:
    """Polylines through neighbours of one kind."""
    for _, group in itertools.groupby(dots, key=lambda dot: dot.figure.kind):
        points = [f"{dot.x},{dot.y}" for dot in group]
        if len(points) > 1:
            yield " ".join(points)


def _tags(tags: Sequence[str]) -> Iterator[ChartTick]:
    """The first, the last and one between, which is all that a phone has room for."""
    last = len(tags) - 1
    places = sorted({0, last // 2, last} if len(tags) >= MOST_TAGS else {0, last}) if tags else []
    for place in places:
        anchor, shift = "middle", 0
        if len(tags) > 1 and place in {0, last}:
            anchor, shift = ("start", -INSET) if place == 0 else ("end", INSET)
        yield ChartTick(at=_x(place, len(tags)) + shift, label=tags[place], anchor=anchor)


def _summary(dots: Sequence[ChartDot]) -> str:
    """The chart in a sentence, for those who do not see it."""
    if not dots:
        return "No release has this figure."
    said = [f"{dot.figure.text} in {dot.tag}" for dot in dots]
    if len(dots) == 1:
        return f"{said[0]}."
    numbers = [dot.figure.number for dot in dots]
    low, high = numbers.index(min(numbers)), numbers.index(max(numbers))
    return f"From {said[0]} to {said[-1]}; lowest {said[low]}, highest {said[high]}."
