import xml.etree.ElementTree as ET
from pathlib import PurePosixPath

import pytest

from ci.boot.chart import is_plain_svg
from ci.host.progress import StepTime
from ci.image.picture import INNER, MARGIN, MOST_AREAS, draw, folder_areas, package_areas, starts, steps
from ci.image.sizes import FolderSize
from ci.records.packages import Package
from tests.support.releasing import PACKAGES, build_record, validation_report

SVG = "{http://www.w3.org/2000/svg}"
FOLDERS = tuple(
    FolderSize(path=PurePosixPath(path), kib=kib * 1024)
    for path, kib in (("/", 900), ("/usr", 800), ("/usr/lib", 600), ("/usr/lib/modules", 400), ("/boot", 50))
)
BUILD = build_record(steps=[StepTime(title="One", seconds=30.0), StepTime(title="Two", seconds=90.0)], seconds=120.0)
REPORT = validation_report(BUILD)


def package(name: str, kib: int = 100) -> Package:
    return Package(name=name, version="1", architecture="amd64", installed_kib=kib)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own


def rectangles(svg: str) -> list[dict[str, str]]:
    return [element.attrib for element in ET.fromstring(svg).iter(f"{SVG}rect")]  # noqa: S314 - our own


def test_it_shows_packages_folders_steps_and_starts() -> None:
    shown = texts(draw(BUILD, PACKAGES, FOLDERS, REPORT))
    for words in ("git", "39.1 MiB", "/usr/lib/modules", "400.0 MiB", "One", "90.0 s", "Two", "consumer"):
        assert words in shown
    assert "Packages, by installed size: 40 MiB" in shown
    assert "Folders, by what is on the disk: 900 MiB" in shown


def test_what_there_is_nothing_of_is_left_out() -> None:
    shown = " ".join(texts(draw(build_record(steps=[]), (), (), None)))
    for words in ("Packages", "Folders", "Build", "Boot test"):
        assert words not in shown


def test_areas_are_as_large_as_what_they_stand_for() -> None:
    svg = draw(build_record(steps=[]), (package("big", 3000), package("small", 1000)), (), None)
    big, small = (float(one["width"]) * float(one["height"]) for one in rectangles(svg)[1:])
    assert big / small == pytest.approx(3, rel=0.01)
    assert big + small == pytest.approx(INNER * 460, rel=0.01)


def test_nothing_is_outside_the_page() -> None:
    many = [package(f"package-{number}", number) for number in range(500)]
    svg = draw(BUILD, many, FOLDERS, REPORT)
    page = ET.fromstring(svg)  # noqa: S314 - our own
    width, height = float(page.attrib["width"]), float(page.attrib["height"])
    for one in rectangles(svg)[1:]:
        assert float(one["x"]) >= MARGIN - 1
        assert float(one["x"]) + float(one["width"]) <= width - MARGIN + 1
        assert float(one["y"]) + float(one["height"]) <= height


def test_small_packages_are_one_area_and_empty_ones_none() -> None:
    many = [package(f"package-{number}", 1000 - number) for number in range(200)] + [package("empty", 0)]
    areas = package_areas(many)
    assert len(areas) == MOST_AREAS + 1
    assert areas[0].name == f"{200 - MOST_AREAS} smaller packages"
    assert sum(area.kib for area in areas) == sum(one.installed_kib for one in many)
    assert package_areas([package("empty", 0)]) == []


def test_folders_are_without_those_below_them() -> None:
    assert {area.name: area.kib // 1024 for area in folder_areas(FOLDERS)} == {
        "/usr/lib/modules": 400, "/usr/lib": 200, "/usr": 200, "/boot": 50, "/": 50,
    }  # fmt: skip


def test_steps_follow_each_other_and_starts_begin_together() -> None:
    assert [(bar.name, bar.start, bar.seconds) for bar in steps(BUILD)] == [("One", 0.0, 30.0), ("Two", 30.0, 90.0)]
    boots = [REPORT.boots[0], REPORT.boots[1].model_copy(update={"ssh_seconds": None})]
    bars = starts(REPORT.model_copy(update={"boots": boots}))
    assert [bar.start for bar in bars] == [0.0, 0.0]
    assert [bar.marks for bar in bars] == [(("login prompt", 1.0), ("SSH", 21.5)), (("login prompt", 1.0),)]


def test_a_long_path_keeps_its_end() -> None:
    deep = PurePosixPath("/usr/lib/a-folder-with-a-name")
    folders = [FolderSize(path=deep, kib=70), *(FolderSize(path=PurePosixPath(f"/{n}"), kib=100) for n in range(40))]
    shown = [text for text in texts(draw(build_record(steps=[]), (), folders, None)) if text.startswith("…")]
    assert len(shown) == 1
    assert shown[0].startswith("…/a-folder")


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "&amp; \" '", "\x00\x1b[31m\ud800\uffff", "]]>"])
def test_whatever_it_is_about_it_stays_a_plain_picture(hostile: str) -> None:
    build = BUILD.model_copy(update={"name": hostile, "steps": [StepTime(title=hostile, seconds=0.0)], "seconds": 0.0})
    boots = [REPORT.boots[0].model_copy(update={"name": hostile})]
    report = REPORT.model_copy(update={"accelerator": hostile, "boots": boots})
    folders = [FolderSize(path=PurePosixPath(f"/{hostile}"), kib=10)]
    svg = draw(build, [package(hostile)], folders, report)
    assert is_plain_svg(svg)
    svg.encode()
