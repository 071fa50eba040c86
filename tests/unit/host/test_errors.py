import shlex
from pathlib import Path

import pytest

from ci.host import errors
from ci.host.repository import ROOT

SHIM = ROOT / "scripts/toolsmith-image"


@pytest.fixture(autouse=True)
def _bare_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_a_command_is_told_as_it_can_be_typed_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert errors.toolsmith("validate", "my image.qcow2") == "scripts/toolsmith-image validate 'my image.qcow2'"
    assert errors.make_setup() == "make setup"
    monkeypatch.chdir(tmp_path)
    assert shlex.split(errors.toolsmith("doctor")) == [str(SHIM), "doctor"]
    assert shlex.split(errors.make_setup()) == ["make", "-C", str(ROOT), "setup"]


@pytest.mark.parametrize("ours", [True, False])
def test_by_its_name_alone_where_path_leads_to_this_clones(tmp_path: Path, *, ours: bool) -> None:
    (tmp_path / "bin").mkdir()
    other = tmp_path / "other"
    other.touch(mode=0o755)
    (tmp_path / "bin/toolsmith-image").symlink_to(SHIM if ours else other)
    assert (errors.toolsmith("doctor") == "toolsmith-image doctor") == ours
