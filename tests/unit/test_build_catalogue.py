from pathlib import Path

import pytest

from ci import build_catalogue
from ci.host import cli
from ci.host.repository import ROOT
from tests.support.release_records import make_records, write


def run(releases: Path, output: Path) -> int:
    argv = [f"--releases={releases}", f"--output={output}", f"--log={output.parent / 'log'}"]
    return cli.run(build_catalogue.main, build_catalogue.arguments(), argv)


def test_the_records_of_this_repository_can_be_shown(tmp_path: Path) -> None:
    assert run(ROOT / "releases", tmp_path / "site") == 0


def test_it_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write(tmp_path / "releases", *make_records("v2026.11.16", "v2026.11.23")), tmp_path / "site") == 0
    assert "site/index.html: 2 releases" in capsys.readouterr().err


def test_a_broken_record_leaves_the_catalogue_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    releases = write(tmp_path / "releases", *make_records("v2026.11.16"))
    assert run(releases, tmp_path / "site") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()}
    (releases / "v2026.11.23.json").write_text("{")
    assert run(releases, tmp_path / "site") == 2
    assert "v2026.11.23.json" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()} == before


def test_a_broken_record_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    releases.mkdir()
    (releases / "v2026.11.23.json").write_text("{}")
    assert run(releases, tmp_path / "site") == 2
    assert not (tmp_path / "site").exists()
