import argparse
import shutil
from pathlib import Path

import pytest

from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.release.targets import CHANGELOG, MANIFEST
from ci.workflow import check_rollout
from tests.support.quiet import quiet_reporter

PATHS = (MANIFEST, CHANGELOG, "releases")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """This checkout's files that a roll-out changes."""
    for path in PATHS:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / path).is_dir() else shutil.copy)(ROOT / path, tmp_path / path)
    return tmp_path


def options(root: Path) -> argparse.Namespace:
    return check_rollout.arguments().parse_args(["--root", str(root)])


def test_this_checkout_is_consistent() -> None:
    check_rollout.main(check_rollout.arguments().parse_args([]), quiet_reporter())


def test_every_finding_is_told(copy: Path) -> None:
    (copy / "releases" / "a.txt").write_text("a")
    (copy / "releases" / "b.txt").write_text("b")
    with pytest.raises(InputError, match=r"releases/a\.txt: its name .* \(2 findings in all\)") as failure:
        check_rollout.main(options(copy), quiet_reporter())
    assert [line.partition(":")[0] for line in failure.value.details.splitlines()] == [
        "releases/a.txt",
        "releases/b.txt",
    ]


@pytest.mark.parametrize("path", [MANIFEST, CHANGELOG])
def test_a_file_that_is_not_there_is_named(copy: Path, path: str) -> None:
    (copy / path).unlink()
    with pytest.raises(InputError, match=f"{path} cannot be read"):
        check_rollout.main(options(copy), quiet_reporter())


def test_a_folder_in_a_records_place_is_named(copy: Path) -> None:
    (copy / "releases" / "v2026.11.23.json").mkdir()
    with pytest.raises(InputError, match=r"v2026\.11\.23\.json cannot be read: it is not a file"):
        check_rollout.main(options(copy), quiet_reporter())


def test_a_changelog_that_is_not_text_is_named(copy: Path) -> None:
    (copy / CHANGELOG).write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not UTF-8"):
        check_rollout.main(options(copy), quiet_reporter())


def test_lint_asks_for_it() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    assert "$(TOOLSMITH) check-roll-out" in recipe
