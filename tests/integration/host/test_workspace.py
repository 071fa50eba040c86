import sys
from pathlib import Path

import pytest

from ci.host.process import run, spawn
from ci.host.repository import ROOT
from ci.host.workspace import WORK_PREFIX, work_folder

pytestmark = pytest.mark.integration


HOLD = """
import pathlib, sys, time
from ci.host.workspace import work_folder
with work_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "part").write_text("x")
    print(folder, flush=True)
    time.sleep(300)
"""


def left(parent: Path) -> list[Path]:
    return [path for path in parent.glob(f"{WORK_PREFIX}*") if path.is_dir()]


def test_a_killed_runs_folder_is_swept_by_the_next_run_and_a_living_ones_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with spawn(command, cwd=ROOT) as killed, spawn(command, cwd=ROOT) as alive:
        assert killed.stdout is not None
        assert alive.stdout is not None
        abandoned, held = (Path(process.stdout.readline().strip()) for process in (killed, alive) if process.stdout)
        killed.kill()
        killed.wait()
        assert (abandoned / "part").exists()
        with work_folder(tmp_path) as ours:
            assert not abandoned.exists()
            assert (held / "part").exists()
            assert ours not in (abandoned, held)


def test_many_runs_at_once_do_not_take_each_others_folders(tmp_path: Path) -> None:
    script = """
import pathlib, sys, time
from ci.host.workspace import work_folder
for number in range(40):
    with work_folder(pathlib.Path(sys.argv[1])) as folder:
        (folder / "part").write_text(str(number))
        assert (folder / "part").read_text() == str(number)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    with spawn(command, cwd=ROOT) as other:
        run(command, timeout=120, cwd=ROOT)
        _, errors = other.communicate(timeout=120)
    assert other.returncode == 0, errors
    assert left(tmp_path) == []
