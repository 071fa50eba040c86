"""Explain where the time and the bytes of a build went: steps, packages, folders, starts. Draws <stem>.sizes.svg.

BUILD is a build record, its image, the name of a build in dist/, or a folder with one build. What it has no file of is
left out: folder sizes, or the boot test before there was one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ci.comparison.image_facts import BUILD, PACKAGES, REPORT
from ci.comparison.lookup import Fetch, local_file
from ci.fetch.open_url import ANONYMOUS
from ci.host import cli
from ci.host.errors import InputError
from ci.host.files import write_atomic
from ci.host.progress import Reporter, short_path
from ci.host.repository import ROOT
from ci.image.picture import draw
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.packages import Package, parse_packages
from ci.records.record import parse_record
from ci.records.sizes import FolderSize, own_sizes, parse_sizes
from ci.records.validation import ValidationReport
from ci.text.figures import mebibytes, megabytes, seconds

SIZES, PICTURE, CHART = artifacts.SIZES, artifacts.SIZES_PICTURE, artifacts.BOOT_CHART
ROWS = 15


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.explain", __doc__)
    result.add_argument("build", metavar="BUILD", help="such as dist/<stem>.build.json")
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--rows", type=int, default=ROWS, metavar="N", help=f"packages, and folders (default: {ROWS})")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> int:
    """Print tables and draw the picture; raises InputError or FetchError."""
    path = local_file(options.build, options.dist)
    if path is None or not path.name.endswith(BUILD):
        raise InputError(f"{options.build!r} is no build", hint="Name its record: dist/<stem>.build.json")
    stem = path.name.removesuffix(BUILD)
    fetch = Fetch(client=ANONYMOUS, reporter=reporter)

    def sibling(ending: str) -> tuple[bytes, str] | None:
        beside = path.with_name(stem + ending)
        return (fetch.path(beside), str(beside)) if beside.is_file() else None

    build = parse_record(fetch.path(path), BuildRecord, str(path))
    packages = parse_packages(*found) if (found := sibling(PACKAGES)) else ()
    folders = parse_sizes(*found) if (found := sibling(SIZES)) else ()
    report = parse_record(found[0], ValidationReport, found[1]) if (found := sibling(REPORT)) else None
    _print(build, packages, folders, report, reporter, rows=max(options.rows, 1))
    picture = path.with_name(stem + PICTURE)
    write_atomic(picture, draw(build, packages, folders, report))
    reporter.note(f"Picture: {short_path(picture)}")
    if (chart := path.with_name(stem + CHART)).is_file():
        reporter.note(f"What the guest did at its start, as systemd draws it: {short_path(chart)}")
    return 0


def _print(
    build: BuildRecord,
    packages: Sequence[Package],
    folders: Sequence[FolderSize],
    report: ValidationReport | None,
    reporter: Reporter,
    *,
    rows: int,
) -> None:
    steps = [(step.title, seconds(step.seconds), _share(step.seconds, build.seconds)) for step in build.steps]
    reporter.table(f"{build.name}: {seconds(build.seconds)}", ("step", "time", "share"), steps)
    if packages:
        whole = sum(package.installed_kib for package in packages)
        largest = sorted(packages, key=lambda package: -package.installed_kib)[:rows]
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
            [(str(one.path), mebibytes(one.kib), _share(one.kib, whole)) for one in own[:rows]],
        )
    if report:
        reporter.table(
            f"Starts, with {report.accelerator}",
            ("boot", "login prompt", "SSH", "whole boot"),
            [
                (boot.name, *map(_time, (boot.login_prompt_seconds, boot.ssh_seconds, boot.total_seconds)))
                for boot in report.boots
            ],
        )
    file, disk = build.image.size, build.image.virtual_size
    reporter.note(f"The image file has {megabytes(file)}, the disk in it {disk >> 30} GiB.")


def _share(part: float, whole: float) -> str:
    return f"{part / whole * 100:.1f} %" if whole else "-"


def _time(value: float | None) -> str:
    return "-" if value is None else seconds(value)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
