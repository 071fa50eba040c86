"""A picture of where the bytes and the seconds of a build went: packages, folders, steps, starts."""

from collections.abc import Sequence
from itertools import accumulate

from ci.image.sizes import FolderSize, own_sizes
from ci.records.build import BuildRecord
from ci.records.packages import Package
from ci.records.validation import ValidationReport
from ci.text.bars import Bars, draw_bars, size_bars, time_bars
from ci.text.figures import mebibytes, megabytes, seconds

MOST = 14


def draw(
    build: BuildRecord, packages: Sequence[Package], folders: Sequence[FolderSize], report: ValidationReport | None
) -> str:
    """The picture as SVG; what there is nothing of is left out."""
    sizes = largest_packages(packages)
    own = [(str(one.path), one.kib) for one in own_sizes(folders)]
    begins = accumulate((step.seconds for step in build.steps), initial=0.0)
    steps = time_bars((step.title, begin, step.seconds) for step, begin in zip(build.steps, begins, strict=False))
    starts = time_bars((one.name, 0.0, one.total_seconds) for one in (report.boots if report else ()))
    groups = [
        Bars(f"Packages, installed: {_sum(sizes)}", size_bars(sizes)),
        Bars(f"Folders, on the disk: {_sum(own)}", size_bars(largest(own, "smaller folders"))),
        Bars(f"Build: {seconds(build.seconds)}", steps),
        Bars(f"Boot test, with {report.accelerator}: {seconds(report.seconds)}" if report else "", starts),
    ]
    return draw_bars(f"{build.name}: {megabytes(build.image.size)}", groups, alone=True)


def _sum(sizes: Sequence[tuple[str, int]]) -> str:
    return mebibytes(sum(kib for _, kib in sizes))


def largest_packages(packages: Sequence[Package]) -> list[tuple[str, int]]:
    """Names and KiB, the largest first, the many small ones together."""
    return largest([(one.name, one.installed_kib) for one in packages], "smaller packages")


def largest(sizes: Sequence[tuple[str, int]], rest: str) -> list[tuple[str, int]]:
    """The largest first; the many small ones are one, the last."""
    ordered = sorted(((name, kib) for name, kib in sizes if kib > 0), key=lambda size: (-size[1], size[0]))
    if others := ordered[MOST:]:
        ordered[MOST:] = [(f"{len(others)} {rest}", sum(kib for _, kib in others))]
    return ordered
