import io
from pathlib import Path

import pytest
from rich.console import Console

from ci.host.errors import InputError
from ci.host.progress import Reporter
from ci.image.explain import explain
from ci.image.sizes import parse_du, to_tsv
from ci.records.packages import Package
from tests.support.plain_svg import is_plain_svg
from tests.support.releasing import PACKAGES, TAG, build_record, make_dist

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return make_dist(tmp_path / "dist")


def explained(folder: Path) -> str:
    said = io.StringIO()
    explain(folder / f"{STEM}.build.json", Reporter(Console(file=said, width=200), in_actions=False))
    return said.getvalue()


def test_it_prints_tables_and_draws_a_picture(dist: Path) -> None:
    said = explained(dist)
    for words in ("a step", "100.0 %", "git", "39.1 MiB", "98.8 %", "consumer", "21.5 s"):
        assert words in said
    picture = dist / f"{STEM}.sizes.svg"
    assert picture.name in said
    assert is_plain_svg(picture.read_text())


def test_folders_are_explained_where_the_build_counted_them(dist: Path) -> None:
    assert "Largest folders" not in explained(dist)
    (dist / f"{STEM}.sizes.tsv").write_text(to_tsv(parse_du("2048\t/usr\n3072\t/\n")))
    said = explained(dist)
    assert "Largest folders" in said
    assert "/usr" in said
    assert "/usr" in (dist / f"{STEM}.sizes.svg").read_text()


def test_only_the_largest_packages_are_named(tmp_path: Path) -> None:
    small = [Package(name=f"small-{n}", version="1", architecture="all", installed_kib=1) for n in range(15)]
    said = explained(make_dist(tmp_path / "dist", packages=[*PACKAGES, *small]))
    assert "small-12" in said
    assert "small-13" not in said


def test_a_build_that_is_alone_is_explained_as_far_as_it_goes(tmp_path: Path) -> None:
    build_record().write(tmp_path / f"{STEM}.build.json")
    said = explained(tmp_path)
    assert "a step" in said
    assert "Starts" not in said
    assert (tmp_path / f"{STEM}.sizes.svg").exists()


def test_the_guests_own_chart_is_pointed_to(dist: Path) -> None:
    assert "systemd" not in explained(dist)
    (dist / f"{STEM}.boot.svg").write_text("<svg/>")
    assert f"{STEM}.boot.svg" in explained(dist)


@pytest.mark.parametrize("ending", [".build.json", ".packages.tsv", ".validation.json", ".sizes.tsv"])
def test_a_damaged_file_is_named_and_nothing_is_drawn(ending: str, dist: Path) -> None:
    (dist / f"{STEM}{ending}").write_text("{")
    with pytest.raises(InputError, match=ending):
        explained(dist)
    assert not (dist / f"{STEM}.sizes.svg").exists()
