import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import BootError, HostError, InputError, RefusedError
from ci.host.open_folder import OpenFolder
from ci.host.workspace import try_lock
from ci.machine import named, places, ssh, warm
from ci.machine.commands import exec as exec_command
from ci.machine.spec import MONITOR, SessionSpec
from tests.support.fake_qemu import listening_monitor

SPEC = SessionSpec(Path("/i"), Path("/w"))
TCG = Acceleration(accelerator=Accelerator.TCG, reason="a test")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for machines, with a name that leaves room for those of sockets."""
    runtime = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", os.fspath(runtime))
    yield places.home()
    shutil.rmtree(runtime)


@pytest.fixture
def booted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders in which machines were booted, which none is really."""
    folders: list[Path] = []

    def boot(_spec: SessionSpec, folder: Path, _acceleration: Acceleration, _say: object, *, stays: bool) -> None:
        assert stays
        folders.append(folder)

    monkeypatch.setattr(warm, "start", boot)
    return folders


def test_a_machine_is_started_in_a_folder_of_its_own_that_nobody_else_may_enter(home: Path, booted: list[Path]) -> None:
    named.start(SPEC, "one", TCG, print)
    assert booted == [home / "one"]
    assert {path.stat().st_mode & 0o777 for path in (home, home / "one")} == {0o700}


def test_the_second_of_a_name_says_so_and_changes_nothing(home: Path, booted: list[Path]) -> None:
    (home / "one").mkdir()
    with listening_monitor(home / "one" / MONITOR), pytest.raises(RefusedError, match="a machine called one runs alr"):
        named.start(SPEC, "one", TCG, print)
    assert booted == []
    assert (home / "one").exists()


def test_two_starts_at_once_do_not_meet(home: Path, booted: list[Path]) -> None:
    with OpenFolder.at(home) as folder, folder.lock_file("one.lock") as lock:
        assert try_lock(lock)
        with pytest.raises(RefusedError, match="just being started"):
            named.start(SPEC, "one", TCG, print)
    assert booted == []


def test_what_a_dead_machine_left_does_not_stop_another(home: Path, booted: list[Path]) -> None:
    (home / "one").mkdir()
    (home / "one" / "key").touch()
    named.start(SPEC, "one", TCG, print)
    assert booted == [home / "one"]
    assert not (home / "one" / "key").exists()


def test_a_start_that_fails_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise BootError("no")

    monkeypatch.setattr(warm, "start", fail)
    with pytest.raises(BootError):
        named.start(SPEC, "one", TCG, print)
    assert not (home / "one").exists()


def test_a_machine_is_told_to_quit_and_its_folder_goes(home: Path) -> None:
    (home / "one").mkdir()
    with listening_monitor(home / "one" / MONITOR) as asked:
        named.stop("one")
    assert asked == ["qmp_capabilities", "quit"]
    assert not (home / "one").exists()


def test_no_machine_is_an_error_and_its_leftovers_go(home: Path) -> None:
    (home / "one").mkdir()
    for act in (named.stop, named.require_way_in):
        with pytest.raises(InputError, match="no machine called one runs"):
            act("one")
        assert not (home / "one").exists()


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 25, "a.lock", "ü", "a\n"])
def test_a_name_that_leads_elsewhere_is_refused(home: Path, name: str) -> None:
    assert home.exists()
    with pytest.raises(InputError, match="is no name"):
        named.stop(name)
    assert places.find(name) is None


def test_a_folder_that_others_may_enter_is_not_used(home: Path) -> None:
    home.chmod(0o750)
    with pytest.raises(HostError, match="is not this user's alone"):
        named.stop("one")
    assert places.find("one") is None


def test_a_folder_that_is_a_link_is_not_used(home: Path, tmp_path: Path) -> None:
    home.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    home.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostError, match="is not this user's alone"):
        named.stop("one")


def test_a_runtime_folder_that_others_may_enter_is_passed_over(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.parent.chmod(0o755)
    monkeypatch.setenv("HOME", os.fspath(home.parent))
    assert places.home() == home.parent / ".local/state/toolsmith-machines"
    monkeypatch.setenv("HOME", os.fspath(home.parent / ("x" * 60)))
    assert places._home() == Path(f"/tmp/toolsmith-{os.geteuid()}")  # noqa: S108


def test_a_command_becomes_ssh_where_the_way_in_is_open(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _name, argv: became.append(argv))
    exec_command.at_once(["--name", "one", "--", "true"])
    assert became == []
    (home / "one").mkdir()
    (home / "one" / ssh.CONTROL).touch()
    for argv in (["--name", "one"], ["true"], ["--name", "one", "--"], ["--verbose", "--", "true"], ["--help"]):
        exec_command.at_once(argv)
    assert became == []
    exec_command.at_once(["--name", "one", "--", "true", "--", "x"])
    assert became == [ssh.command(home / "one", ["true", "--", "x"], terminal=False)]
