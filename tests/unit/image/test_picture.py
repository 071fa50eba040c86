import xml.etree.ElementTree as ET
from pathlib import PurePosixPath

import pytest

from ci.host.progress import StepTime
from ci.image.picture import MOST, draw, largest
from ci.image.sizes import FolderSize
from ci.records.packages import Package
from ci.text.bars import WIDTH
from tests.support.plain_svg import is_plain_svg
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


def lengths(svg: str) -> list[float]:
    bars = ET.fromstring(svg).iter(f"{SVG}rect")  # noqa: S314 - our own
    return [float(bar.attrib["width"]) for bar in bars if bar.attrib["class"] == "stretch"]


def test_it_shows_packages_folders_steps_and_starts() -> None:
    shown = texts(draw(BUILD, PACKAGES, FOLDERS, REPORT))
    for words in ("git", "39.1 MiB", "/usr/lib/modules", "400.0 MiB", "One", "90.0 s", "Two", "consumer"):
        assert words in shown
    assert "Packages, installed: 39.6 MiB" in shown
    assert "Folders, on the disk: 900.0 MiB" in shown


def test_what_there_is_nothing_of_is_left_out() -> None:
    shown = " ".join(texts(draw(build_record(steps=[]), (), (), None)))
    for words in ("Packages", "Folders", "Build", "Boot test"):
        assert words not in shown


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    big, small = lengths(draw(build_record(steps=[]), (package("big", 3000), package("small", 1000)), (), None))
    assert big == WIDTH
    assert big / small == pytest.approx(3, rel=0.01)


def test_nothing_is_outside_the_page() -> None:
    many = [package(f"package-{number}", number) for number in range(500)]
    page = ET.fromstring(draw(BUILD, many, FOLDERS, REPORT))  # noqa: S314 - our own
    height = float(page.attrib["viewBox"].split()[3])
    for group in page.iter(f"{SVG}g"):
        down = float(group.attrib["transform"].split()[1].rstrip(")"))
        for bar in group.iter(f"{SVG}rect"):
            assert float(bar.get("x", 0)) + float(bar.attrib["width"]) <= WIDTH + 2
            assert down + float(bar.attrib["y"]) + float(bar.attrib["height"]) <= height


def test_the_many_small_ones_are_one_bar_and_empty_ones_none() -> None:
    bars = largest([*((f"package-{number}", 1000 - number) for number in range(200)), ("empty", 0)], "smaller packages")
    assert len(bars) == MOST + 1
    assert bars[-1][0] == f"{200 - MOST} smaller packages"
    assert sum(kib for _, kib in bars) == sum(1000 - number for number in range(200))
    assert largest([("empty", 0)], "") == []


def test_a_folder_is_without_those_below_it() -> None:
    shown = texts(draw(build_record(steps=[]), (), FOLDERS, None))
    for name, size in (("/usr/lib/modules", "400.0 MiB"), ("/usr/lib", "200.0 MiB"), ("/boot", "50.0 MiB")):
        assert shown[shown.index(name) + 1] == size


def test_steps_follow_each_other() -> None:
    page = ET.fromstring(draw(BUILD, (), (), None))  # noqa: S314 - our own
    bars = [bar for bar in page.iter(f"{SVG}rect") if bar.attrib["class"] == "stretch"]
    assert [float(bar.attrib["x"]) / WIDTH for bar in bars] == [0, 0.25]


def test_a_long_path_keeps_its_end_and_a_long_name_its_beginning() -> None:
    deep = PurePosixPath(f"/usr/{'x' * 60}/a-folder-with-a-name")
    shown = texts(draw(build_record(steps=[]), [package(f"first{'x' * 60}")], [FolderSize(path=deep, kib=70)], None))
    assert next(text for text in shown if text.startswith("…")).endswith("/a-folder-with-a-name")
    assert next(text for text in shown if text.endswith("…")).startswith("first")


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", "&amp; \" '", "\x00\x1b[31m\ud800\uffff", "]]>"])
def test_whatever_it_is_about_it_stays_a_plain_picture(hostile: str) -> None:
    build = BUILD.model_copy(update={"name": hostile, "steps": [StepTime(title=hostile, seconds=0.0)], "seconds": 0.0})
    boots = [REPORT.boots[0].model_copy(update={"name": hostile})]
    report = REPORT.model_copy(update={"accelerator": hostile, "boots": boots})
    folders = [FolderSize(path=PurePosixPath(f"/{hostile}"), kib=10)]
    svg = draw(build, [package(hostile)], folders, report)
    assert is_plain_svg(svg)
    svg.encode()
