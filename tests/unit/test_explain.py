import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from ci import explain
from ci.boot.chart import is_plain_svg
from ci.host.errors import InputError
from ci.host.progress import Reporter
from ci.records.sizes import parse_du, to_tsv
from tests.support.releasing import TAG, build_record, make_dist

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return make_dist(tmp_path / "dist")


def run(*argv: str) -> str:
    said = io.StringIO()
    reporter = Reporter(Console(file=said, width=200), in_actions=False)
    assert explain.main(explain.arguments().parse_args(argv), reporter) == 0
    return said.getvalue()


@pytest.mark.parametrize("given", ["{dist}", "{dist}/{stem}.build.json", "{dist}/{stem}.qcow2"])
def test_it_prints_tables_and_draws_a_picture(given: str, dist: Path) -> None:
    said = run(given.format(dist=dist, stem=STEM))
    for words in ("a step", "100.0 %", "git", "39.1 MiB", "98.8 %", "consumer", "21.5 s"):
        assert words in said
    picture = dist / f"{STEM}.sizes.svg"
    assert picture.name in said
    assert is_plain_svg(picture.read_text())


def test_folders_are_explained_where_the_build_counted_them(dist: Path) -> None:
    assert "Largest folders" not in run(os.fspath(dist))
    (dist / f"{STEM}.sizes.tsv").write_text(to_tsv(parse_du("2048\t/usr\n3072\t/\n")))
    said = run(os.fspath(dist), "--rows", "1")
    assert "Largest folders" in said
    assert "/usr" in said
    assert "curl" not in said  # the second largest package
    assert "/usr" in (dist / f"{STEM}.sizes.svg").read_text()


def test_a_build_that_is_alone_is_explained_as_far_as_it_goes(tmp_path: Path) -> None:
    build_record().write(tmp_path / f"{STEM}.build.json")
    said = run(os.fspath(tmp_path))
    assert "a step" in said
    assert "Starts" not in said
    assert (tmp_path / f"{STEM}.sizes.svg").exists()


def test_the_guests_own_chart_is_pointed_to(dist: Path) -> None:
    assert "systemd" not in run(os.fspath(dist))
    (dist / f"{STEM}.boot.svg").write_text("<svg/>")
    assert f"{STEM}.boot.svg" in run(os.fspath(dist))


@pytest.mark.parametrize("ending", [".build.json", ".packages.tsv", ".validation.json", ".sizes.tsv"])
def test_a_damaged_file_is_named_and_nothing_is_drawn(ending: str, dist: Path) -> None:
    (dist / f"{STEM}{ending}").write_text("{")
    with pytest.raises(InputError, match=ending):
        run(os.fspath(dist))
    assert not (dist / f"{STEM}.sizes.svg").exists()


def test_what_is_no_build_is_refused(dist: Path) -> None:
    for name in ("nothing", os.fspath(dist / f"{STEM}.packages.tsv")):
        with pytest.raises(InputError, match="is no build"):
            run(name)
