"""A picture of where bytes and seconds went: packages and folders as areas, steps and starts as bars."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import squarify  # type: ignore[import-untyped]  # it has no types

from ci.image.sizes import FolderSize, own_sizes
from ci.records.build import BuildRecord
from ci.records.packages import Package
from ci.records.validation import ValidationReport
from ci.text.figures import mebibytes, megabytes

WIDTH = 1200
MARGIN = 20
INNER = WIDTH - 2 * MARGIN
LABELS = 330  # where bars begin
BAR = 22
MOST_AREAS = 90
CHARACTER = 7.0  # the width of one at the size of a label, on average
LINE = 15
COLOURS = ("#9ecae1", "#a1d99b", "#fdd0a2", "#dadaeb", "#fbb4b9", "#d9d9d9", "#ffeda0", "#b2e2e2", "#e5c494", "#c7e9b4")
REST, REST_COLOUR = "", "#eee"
STYLE = "text{font:12px sans-serif;fill:#222}.h{font-size:16px;font-weight:bold}.t{font-size:20px;font-weight:bold}"


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


class _Page:
    """An SVG that grows downwards. It holds nothing active, and every text in it is escaped by ElementTree."""

    def __init__(self) -> None:
        self.root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": str(WIDTH)})
        ET.SubElement(self.root, "style").text = STYLE
        self._background = self.rectangle(0, 0, WIDTH, 0, "#fff")
        self.y = float(MARGIN)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str, *, title: str = "") -> ET.Element:
        place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}"}
        shape = ET.SubElement(self.root, "rect", place | {"fill": colour, "stroke": "#fff"})
        if title:
            ET.SubElement(shape, "title").text = _printable(title)
        return shape

    def text(self, x: float, y: float, words: str, kind: str = "") -> None:
        attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}"} | ({"class": kind} if kind else {})
        ET.SubElement(self.root, "text", attributes).text = _printable(words)

    def heading(self, words: str, kind: str = "h") -> None:
        self.y += 24
        self.text(MARGIN, self.y, words, kind)
        self.y += 12

    def finish(self) -> str:
        height = f"{self.y + MARGIN:.0f}"
        self.root.set("height", height)
        self.root.set("viewBox", f"0 0 {WIDTH} {height}")
        self._background.set("height", height)
        return ET.tostring(self.root, encoding="unicode") + "\n"


def draw(
    build: BuildRecord, packages: Sequence[Package], folders: Sequence[FolderSize], report: ValidationReport | None
) -> str:
    """The picture as SVG; what there is nothing of is left out."""
    page = _Page()
    page.heading(f"{build.name}: {megabytes(build.image.size)}", "t")
    if areas := package_areas(packages):
        _areas(page, "Packages, by installed size", areas, 460)
    if areas := folder_areas(folders):
        _areas(page, "Folders, by what is on the disk", areas, 380)
    if build.steps:
        _bars(page, f"Build: {build.seconds:.0f} s", steps(build))
    if report and report.boots:
        _bars(page, f"Boot test, with {report.accelerator}: {report.seconds:.0f} s", starts(report))
    return page.finish()


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


def _areas(page: _Page, title: str, areas: Sequence[Area], height: int) -> None:
    page.heading(f"{title}: {sum(area.kib for area in areas) / 1024:,.0f} MiB")
    sizes = squarify.normalize_sizes([area.kib for area in areas], INNER, height)
    groups = [*dict.fromkeys(area.group for area in areas)]
    for area, place in zip(areas, squarify.squarify(sizes, MARGIN, page.y, INNER, height), strict=True):
        x, y, width, tall = place["x"], place["y"], place["dx"], place["dy"]
        colour = REST_COLOUR if area.group == REST else COLOURS[groups.index(area.group) % len(COLOURS)]
        page.rectangle(x, y, width, tall, colour, title=f"{area.name}: {mebibytes(area.kib)}")
        fits = int((width - 8) / CHARACTER)
        if tall > LINE + 3 and fits >= 5:
            page.text(x + 4, y + LINE, _cut(area.name, fits))
        if tall > 2 * LINE + 3 and fits >= 9:
            page.text(x + 4, y + 2 * LINE, mebibytes(area.kib))
    page.y += height


def _bars(page: _Page, title: str, bars: Sequence[Bar]) -> None:
    page.heading(title)
    end = max(bar.start + bar.seconds for bar in bars) or 1.0
    scale = (INNER - LABELS - 60) / end
    for bar in bars:
        x, width = MARGIN + LABELS + bar.start * scale, max(bar.seconds * scale, 1.0)
        page.text(MARGIN, page.y + LINE, _cut(bar.name, int(LABELS / CHARACTER)))
        page.rectangle(x, page.y + 3, width, BAR - 6, COLOURS[0])
        for name, seconds in bar.marks:
            colour = "#d94801" if name == "SSH" else "#333"
            page.rectangle(x + seconds * scale - 1, page.y + 1, 3, BAR - 2, colour, title=f"{name}: {seconds:.1f} s")
        page.text(x + width + 5, page.y + LINE, f"{bar.seconds:.1f} s")
        page.y += BAR
    if any(bar.marks for bar in bars):
        page.y += LINE
        page.text(MARGIN + LABELS, page.y, "marks: login prompt (dark) and SSH (red), from QEMU's start")


def _cut(words: str, characters: int) -> str:
    """A name, cut; of a path the end is what tells it from its neighbours."""
    if len(words) <= characters:
        return words
    cut = ""
    while words.startswith("/") and words.count("/") > 1 and len(words) > characters - 1:
        words, cut = words[words.index("/", 1) :], "…"
    words = f"{cut}{words}"
    return words if len(words) <= characters else f"{words[: characters - 1]}…"


def _printable(words: str) -> str:
    """XML has no place for most of what is not printable."""
    return "".join(character if character.isprintable() else "?" for character in words)
