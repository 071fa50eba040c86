import json
import os
from pathlib import Path

import pytest

from ci import compare
from ci.comparison.difference import Difference
from ci.host import cli
from ci.host.errors import InputError
from tests.support.quiet import quiet_reporter
from tests.support.releasing import PACKAGES, make_dist


@pytest.fixture
def builds(tmp_path: Path) -> tuple[str, str]:
    old = make_dist(tmp_path / "old", tag="v2026.11.22", packages=PACKAGES[:1])
    (one,), (other,) = old.glob("*.build.json"), make_dist(tmp_path / "new").glob("*.build.json")
    return os.fspath(one), os.fspath(other)


def run(*argv: str) -> None:
    compare.main(compare.arguments().parse_args(argv), quiet_reporter())


def test_json_is_a_record_and_nothing_else(builds: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run(*builds, "--format", "json")
    printed = capsys.readouterr().out
    found = Difference.model_validate_json(printed)
    assert not found.same
    assert found.packages is not None
    assert [package.name for package in found.packages.added] == ["git"]
    assert json.loads(printed)["schema"] == "fountainkit-toolsmith-image/difference/1"


@pytest.mark.parametrize(
    ("form", "words"), [("text", "Packages added\n"), ("markdown", "Packages added:\n\n| package |")]
)
def test_people_get_tables(form: str, words: str, builds: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run(*builds, "--format", form)
    assert words in capsys.readouterr().out


def test_the_older_one_comes_first(builds: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run(*reversed(builds))
    assert "Packages removed\n" in capsys.readouterr().out


def test_the_exit_code_is_the_same_whether_they_differ_or_not(builds: tuple[str, str], tmp_path: Path) -> None:
    log = ["--log", os.fspath(tmp_path / "log")]
    assert cli.run(compare.main, compare.arguments(), [*builds, *log]) == 0
    assert cli.run(compare.main, compare.arguments(), [builds[0], builds[0], *log]) == 0
    assert cli.run(compare.main, compare.arguments(), [builds[0], "nothing", *log]) == InputError.exit_code


def test_a_repository_must_look_like_one(builds: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="is not a repository"):
        run(*builds, "--repository", "o/r/../x")


def test_one_build_alone_is_explained(builds: tuple[str, str]) -> None:
    run(builds[0])
    assert Path(builds[0].replace(".build.json", ".sizes.svg")).is_file()


def test_what_is_no_build_cannot_be_explained(builds: tuple[str, str]) -> None:
    for name in ("nothing", builds[0].replace(".build.json", ".packages.tsv")):
        with pytest.raises(InputError, match="is no build"):
            run(name)
