"""A line of dots over the releases, as numbers: the template only writes them down."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ci.catalogue import figures
from ci.catalogue.view import Release

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 26, 30
INSET = 34  # dots keep off the axis, and their values off the border
MOST_RELEASES = 60
MOST_VALUES = 4  # beyond, values written above their dots would run into each other
MOST_TAGS = 3
TICKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One release's figure; `value` is written beside the dot where `shown`. `hollow` ones are of another kind."""

    x: float
    y: float
    tag: str
    value: str
    detail: str
    shown: bool
    hollow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
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
    dots: tuple[Dot, ...]
    lines: tuple[str, ...]
    levels: tuple[Tick, ...]
    tags: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A release's figure: its place among the releases, the number, how that reads, and what kind it is of."""

    place: int
    tag: str
    number: float
    text: str
    kind: str = ""
    hollow: bool = False


def size_chart(releases: Sequence[Release]) -> Chart:
    """The size of the image file over the releases, which come newest first."""
    shown = _oldest_first(releases)
    found = [
        Figure(place=place, tag=one.tag, number=one.image.size, text=figures.size(one.image.size))
        for place, one in enumerate(shown)
    ]
    return _chart("size", "Size of the image", [one.tag for one in shown], found, finest=1000, level_text=_size_level)


def boot_chart(releases: Sequence[Release]) -> Chart:
    """The time from the start of the machine to SSH; a release without one leaves its place empty."""
    shown = _oldest_first(releases)
    found = [
        Figure(
            place=place,
            tag=one.tag,
            number=boot.seconds,
            text=figures.seconds(boot.seconds),
            kind=f"{boot.name} {boot.how}",
            hollow=boot.emulated,
        )
        for place, one in enumerate(shown)
        if (boot := one.image.boot)
    ]
    return _chart("boot", "From start to SSH", [one.tag for one in shown], found, finest=0.1, level_text=_time_level)


def _size_level(value: float) -> str:
    return figures.size(round(value)).replace(".0 ", " ")


def _time_level(value: float) -> str:
    return f"{value:g} s"


def _oldest_first(releases: Sequence[Release]) -> list[Release]:
    return list(reversed(releases[:MOST_RELEASES]))


def _chart(
    name: str,
    title: str,
    tags: Sequence[str],
    found: Sequence[Figure],
    *,
    finest: float,
    level_text: Callable[[float], str],
) -> Chart:
    step, top = _scale(max((one.number for one in found), default=0.0), finest)
    few = len(found) <= MOST_VALUES
    dots = tuple(
        Dot(
            x=_x(one.place, len(tags)),
            y=_y(one.number, top),
            tag=one.tag,
            value=one.text,
            detail=f"{one.tag}: {one.text}" + (f", boot {one.kind}" if one.kind else ""),
            shown=few or number in {0, len(found) - 1},
            hollow=one.hollow,
        )
        for number, one in enumerate(found)
    )
    return Chart(
        name=name,
        title=title,
        summary=_summary(found),
        dots=dots,
        lines=tuple(_lines(found, dots)),
        levels=tuple(
            Tick(at=_y(step * number, top), label=level_text(step * number), anchor="end")
            for number in range(round(top / step) + 1)
        ),
        tags=tuple(_tags(tags)),
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


def _lines(found: Sequence[Figure], dots: Sequence[Dot]) -> Iterator[str]:
    """Polylines through neighbours of one kind."""
    pairs = zip(found, dots, strict=True)
    for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].kind):
        points = [f"{dot.x},{dot.y}" for _, dot in group]
        if len(points) > 1:
            yield " ".join(points)


def _tags(tags: Sequence[str]) -> Iterator[Tick]:
    """The first, the last and one between, which is all that a phone has room for."""
    last = len(tags) - 1
    places = sorted({0, last // 2, last} if len(tags) >= MOST_TAGS else {0, last}) if tags else []
    for place in places:
        anchor = "middle"
        if len(tags) > 1 and place in {0, last}:
            anchor = "start" if place == 0 else "end"
        shift = {"start": -INSET, "end": INSET, "middle": 0}[anchor]
        yield Tick(at=_x(place, len(tags)) + shift, label=tags[place], anchor=anchor)


def _summary(found: Sequence[Figure]) -> str:
    """The chart in a sentence, for those who do not see it."""
    if not found:
        return "No release has this figure."
    first, last = found[0], found[-1]
    if first is last:
        return f"{last.text} in {last.tag}."
    low, high = min(found, key=_number), max(found, key=_number)
    return (
        f"From {first.text} in {first.tag} to {last.text} in {last.tag}; "
        f"lowest {low.text} in {low.tag}, highest {high.text} in {high.tag}."
    )


def _number(figure: Figure) -> float:
    return figure.number
