"""A picture of where bytes and seconds went: packages and folders as areas, steps and starts as bars."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import squarify  # type: ignore[import-untyped]  # it has no types

from ci.image.sizes import FolderSize, own_sizes
from ci.records.build import BuildRecord
from ci.records.packages import Package
from ci.records.validation import ValidationReport
from ci.text.figures import mebibytes, megabytes
from ci.text.pages import page_templates

WIDTH = 1200
MARGIN = 20
INNER = WIDTH - 2 * MARGIN
LABELS = 330  # where bars begin
BAR = 22
MOST_AREAS = 90
CHARACTER = 7.0  # the width of one at the size of a label, on average
LINE = 15
HEADING = 36
COLOURS = ("#9ecae1", "#a1d99b", "#fdd0a2", "#dadaeb", "#fbb4b9", "#d9d9d9", "#ffeda0", "#b2e2e2", "#e5c494", "#c7e9b4")
REST, REST_COLOUR = "", "#eee"


class Area(NamedTuple):
    """A piece of a whole; areas of one `group` have one colour."""

    name: str
    kib: int
    group: str


class Bar(NamedTuple):
    """A stretch of time, from `start` on; `mark` names the points within it, in seconds."""

    name: str
    start: float
    seconds: float
    marks: tuple[tuple[str, float], ...] = ()


class Panel(NamedTuple):
    """A part of the picture, with areas and where they are in it, or with bars; one second of these is `scale` wide."""

    title: str
    height: float
    areas: Sequence[tuple[Area, str, Mapping[str, float]]] = ()
    bars: Sequence[Bar] = ()
    scale: float = 0.0


def draw(
    build: BuildRecord, packages: Sequence[Package], folders: Sequence[FolderSize], report: ValidationReport | None
) -> str:
    """The picture as SVG; what there is nothing of is left out. It holds nothing active, and every text is escaped."""
    panels = [
        _map("Packages, by installed size", package_areas(packages), 460),
        _map("Folders, by what is on the disk", folder_areas(folders), 380),
        _timeline(f"Build: {build.seconds:.0f} s", steps(build)),
    ]
    if report:
        panels.append(_timeline(f"Boot test, with {report.accelerator}: {report.seconds:.0f} s", starts(report)))
    panels = [panel for panel in panels if panel.areas or panel.bars]
    tops = list(accumulate((HEADING + panel.height for panel in panels), initial=float(MARGIN + HEADING)))
    text: str = ENVIRONMENT.get_template("picture.svg.j2").render(
        title=f"{build.name}: {megabytes(build.image.size)}", panels=zip(tops, panels, strict=False), end=tops[-1]
    )
    return text


def package_areas(packages: Sequence[Package]) -> list[Area]:
    """The packages, the largest first; the many small ones are one area."""
    ordered = sorted(packages, key=lambda package: (-package.installed_kib, package.name))
    return _largest([Area(one.name, one.installed_kib, one.name.split("-")[0]) for one in ordered], "smaller packages")


def folder_areas(folders: Sequence[FolderSize]) -> list[Area]:
    """The folders without those below them, the largest first; the many small ones are one area."""
    areas = [Area(str(one.path), one.kib, "/".join(one.path.parts[:3])) for one in own_sizes(folders)]
    return _largest(areas, "smaller folders")


def steps(build: BuildRecord) -> list[Bar]:
    """The steps, one after the other."""
    begins = accumulate((step.seconds for step in build.steps), initial=0.0)
    return [Bar(step.title, start, step.seconds) for step, start in zip(build.steps, begins, strict=False)]


def starts(report: ValidationReport) -> list[Bar]:
    """The boots, each from its own start on."""
    bars = []
    for boot in report.boots:
        marks = (("login prompt", boot.login_prompt_seconds), ("SSH", boot.ssh_seconds))
        known = tuple((name, seconds) for name, seconds in marks if seconds is not None)
        bars.append(Bar(boot.name, 0.0, boot.total_seconds, known))
    return bars


def _largest(areas: list[Area], rest: str) -> list[Area]:
    areas = [area for area in areas if area.kib > 0]
    if others := areas[MOST_AREAS:]:
        areas[MOST_AREAS:] = [Area(f"{len(others)} {rest}", sum(area.kib for area in others), REST)]
    return sorted(areas, key=lambda area: -area.kib)


def _map(title: str, areas: Sequence[Area], height: int) -> Panel:
    sizes = squarify.normalize_sizes([area.kib for area in areas], INNER, height) if areas else []
    groups = [*dict.fromkeys(area.group for area in areas)]
    colours = [
        REST_COLOUR if area.group == REST else COLOURS[groups.index(area.group) % len(COLOURS)] for area in areas
    ]
    places = squarify.squarify(sizes, MARGIN, HEADING, INNER, height)
    whole = sum(area.kib for area in areas) / 1024
    return Panel(f"{title}: {whole:,.0f} MiB", height, areas=list(zip(areas, colours, places, strict=True)))


def _timeline(title: str, bars: Sequence[Bar]) -> Panel:
    end = max((bar.start + bar.seconds for bar in bars), default=0.0) or 1.0
    height = BAR * len(bars) + LINE * any(bar.marks for bar in bars)
    return Panel(title, height, bars=bars, scale=(INNER - LABELS - 60) / end)


def _cut(words: str, characters: int) -> str:
    """A name, cut; of a path the end is what tells it from its neighbours."""
    if len(words) <= characters:
        return words
    cut = ""
    while words.startswith("/") and words.count("/") > 1 and len(words) > characters - 1:
        words, cut = words[words.index("/", 1) :], "…"
    words = f"{cut}{words}"
    return words if len(words) <= characters else f"{words[: characters - 1]}…"


ENVIRONMENT = page_templates(Path(__file__).parent)
ENVIRONMENT.globals |= {
    "WIDTH": WIDTH, "MARGIN": MARGIN, "LABELS": LABELS, "BAR": BAR, "LINE": LINE, "CHARACTER": CHARACTER,
    "BAR_COLOUR": COLOURS[0],
}  # fmt: skip
ENVIRONMENT.filters |= {"cut": _cut, "mebibytes": mebibytes, "px": "{:.1f}".format}
