"""Where the time and the bytes of one build went: steps, packages, folders, starts. As tables, and as a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ci.host.files import read_bounded, write_atomic
from ci.host.progress import Reporter, short_path
from ci.image.picture import draw
from ci.image.sizes import FolderSize, own_sizes, parse_sizes
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.packages import Package, parse_packages
from ci.records.record import MAX_BYTES, read_record
from ci.records.validation import ValidationReport
from ci.text.figures import mebibytes, megabytes, seconds

ROWS = 15

T = TypeVar("T")


def explain(path: Path, reporter: Reporter) -> None:
    """Print the tables of a build and draw its picture; `path` is its record. What it has no file of is left out.

    Raises InputError where a file is not what its name says; nothing is drawn then.
    """
    build = read_record(path, BuildRecord)
    packages = _beside(path, artifacts.PACKAGES, parse_packages)
    folders = _beside(path, artifacts.SIZES, parse_sizes)
    tested = artifacts.beside(path, artifacts.REPORT)
    report = read_record(tested, ValidationReport) if tested.is_file() else None
    picture, chart = (artifacts.beside(path, ending) for ending in (artifacts.SIZES_PICTURE, artifacts.BOOT_CHART))
    drawn = draw(build, packages, folders, report)
    _print(build, packages, folders, report, reporter)
    write_atomic(picture, drawn)
    reporter.note(f"Picture: {short_path(picture)}")
    if chart.is_file():
        reporter.note(f"Where the time of a start went: {short_path(chart)}")


def _beside(record: Path, ending: str, parse: Callable[[bytes, str], tuple[T, ...]]) -> tuple[T, ...]:
    path = artifacts.beside(record, ending)
    return parse(read_bounded(path, MAX_BYTES), str(path)) if path.is_file() else ()


def _print(
    build: BuildRecord,
    packages: Sequence[Package],
    folders: Sequence[FolderSize],
    report: ValidationReport | None,
    reporter: Reporter,
) -> None:
    steps = [(step.title, seconds(step.seconds), _share(step.seconds, build.seconds)) for step in build.steps]
    reporter.table(f"{build.name}: {seconds(build.seconds)}", ("step", "time", "share"), steps)
    if packages:
        whole = sum(package.installed_kib for package in packages)
        largest = sorted(packages, key=lambda package: -package.installed_kib)[:ROWS]
        reporter.table(
            f"Largest of {len(packages)} packages, {mebibytes(whole)} installed",
            ("package", "size", "share"),
            [(one.name, mebibytes(one.installed_kib), _share(one.installed_kib, whole)) for one in largest],
        )
    if folders:
        own = own_sizes(folders)
        whole = sum(folder.kib for folder in own)
        reporter.table(
            f"Largest folders, each without those listed below it, {mebibytes(whole)} in all",
            ("folder", "size", "share"),
            [(str(one.path), mebibytes(one.kib), _share(one.kib, whole)) for one in own[:ROWS]],
        )
    if report:
        boots = [
            (one.name, *map(seconds, (one.login_prompt_seconds, one.ssh_seconds, one.total_seconds)))
            for one in report.boots
        ]
        reporter.table(f"Starts, with {report.accelerator}", ("boot", "login prompt", "SSH", "whole boot"), boots)
    file, disk = build.image.size, build.image.virtual_size
    reporter.note(f"The image file has {megabytes(file)}, the disk in it {disk >> 30} GiB.")


def _share(part: float, whole: float) -> str:
    return f"{part / whole * 100:.1f} %" if whole else "-"
