"""The npm part of scripts/setup.sh."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from ci.host.process import run
from ci.host.repository import ROOT
from tests.support.locks import LOCKS

pytestmark = pytest.mark.integration

NPM = """#!/bin/bash
echo "$*" >>"$RECORD"
[[ ! -e $RECORD.broken ]] || exit 1
mkdir -p "$3/node_modules"
"""


def have_an_environment(project: Path) -> None:
    """Have the script find its Python packages installed: to make an environment takes seconds."""
    python = project / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    nothing = "# nothing\n"
    state = f"{sys.version_info.major} {sys.version_info.minor}\n"
    for lock in LOCKS[:2]:
        (project / lock).write_text(nothing)
        state += f"{hashlib.sha256(nothing.encode()).hexdigest()}  {lock}\n"
    (project / ".venv/.requirements-installed").write_text(state)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an npm lock but no Python packages, and an npm that only notes how it was called."""
    folder, programs = tmp_path / "project", tmp_path / "bin"
    for place in (folder / "scripts", folder / "ci/rehearsal", programs):
        place.mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", folder / "scripts")
    have_an_environment(folder)
    (folder / "ci/rehearsal/package-lock.json").write_text("{}\n")
    (programs / "npm").write_text(NPM)
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    return folder


def set_up(project: Path, *, code: int = 0) -> str:
    return run([project / "scripts/setup.sh"], timeout=600, ok=(code,)).stderr


def test_npm_packages_are_installed_once_and_again_when_their_lock_changes(project: Path, tmp_path: Path) -> None:
    lock, record = project / "ci/rehearsal/package-lock.json", tmp_path / "record"
    assert f"setup: installing the npm packages of {lock}\n" in set_up(project)
    assert record.read_text().startswith(f"ci --prefix {lock.parent} --ignore-scripts")
    assert "nothing to do" in set_up(project)
    lock.write_text('{"changed": true}\n')
    assert "installing the npm packages" in set_up(project)
    assert len(record.read_text().splitlines()) == 2


def test_a_failed_installation_is_tried_again(project: Path, tmp_path: Path) -> None:
    broken = tmp_path / "record.broken"
    broken.touch()
    assert "setup: the npm packages could not be installed" in set_up(project, code=3)
    broken.unlink()
    assert "installing the npm packages" in set_up(project)
