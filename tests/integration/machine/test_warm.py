"""Machines that are resumed from what was kept of one start: each is another one, and of what does not do is told."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ci.host import process
from ci.host.accelerator import Acceleration
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.machine import kept, warm
from ci.machine.kept import DEVICES, RECORD, Kept, UnusableError
from ci.machine.machine import Machine
from ci.machine.spec import DISK, MEMORY, SessionSpec
from tests.support.building import Built
from tests.support.qemus import running_with

pytestmark = pytest.mark.integration

# What no two machines may have in common.
IDENTITIES = """
import os, uuid
from pathlib import Path
for file in "/etc/machine-id", "/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/random/uuid":
    print(Path(file).read_text().strip())
print(os.popen("sudo cat /etc/ssh/ssh_host_ed25519_key").read().encode().hex())
print(os.popen("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub").read().split()[1])
print(os.urandom(16).hex())
print(uuid.uuid4())
"""


class Told(Reporter):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True), in_actions=False)
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLSMITH_CACHE", os.fspath(folder))
        yield folder


@pytest.fixture(scope="module")
def spec(built: Built, tmp_path_factory: pytest.TempPathFactory) -> SessionSpec:
    workspace = tmp_path_factory.mktemp("parent") / "workspace"  # which others may enter, the guest's user among them
    workspace.mkdir()
    return SessionSpec(built.image, workspace)


@pytest.fixture(scope="module")
def state(cache: Path, spec: SessionSpec, acceleration: Acceleration) -> Kept:
    """What the first start kept."""
    told = Told()
    with Machine(spec, acceleration, told) as machine:
        assert machine.run(["true"]).returncode == 0
    assert told.notes == []
    found = kept.find(cache / "warm", warm.circumstances(spec, acceleration))
    assert found is not None
    return found


@pytest.fixture
def copy(state: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same state in a cache of its own."""
    monkeypatch.setenv("TOOLSMITH_CACHE", os.fspath(tmp_path))
    copy = kept.states_folder() / state.folder.name
    process.run(["cp", "--archive", "--sparse=always", state.folder, copy], timeout=60)
    return copy


def test_two_resumed_at_once_are_two_machines_at_the_right_time_each_with_its_shares(
    state: Kept, spec: SessionSpec, acceleration: Acceleration, tmp_path: Path
) -> None:
    with contextlib.ExitStack() as held:
        said, machines = [], []
        for name in ("one", "other"):
            workspace = tmp_path / name
            workspace.mkdir()
            (workspace / "name").write_text(name)
            told = Told()
            machine = held.enter_context(Machine(SessionSpec(spec.image, workspace), acceleration, told))
            assert told.notes == []
            machines.append(machine)
            before = time.time()
            done = machine.run(["sh", "-c", "cat name; date +%s.%N >&2; ls /mnt; umask"])
            assert done.stdout == f"{name}work\n0022\n"
            # The hardware clock tells whole seconds, and a busy machine lets a guest wait.
            assert before - 3 < float(done.stderr) < time.time() + 1
            said.append(machine.run(["python3", "-c", IDENTITIES]).stdout.split())
        # The rest of the start comes by itself, D-Bus among it, through which `systemctl` asks for everybody.
        assert machines[0].run(["sudo", "systemctl", "is-system-running", "--wait"]).stdout == "running\n"
        assert machines[0].run(["systemctl", "is-active", "multi-user.target", "ssh"]).stdout == "active\nactive\n"
    one, other = said
    assert len(one) == len(other) == 7
    assert not set(one) & set(other)
    assert state.verify(MEMORY) == state.verify(DISK) == b""  # nobody wrote to it


def test_what_is_kept_takes_no_more_than_the_memory_and_has_no_key_in_it(state: Kept, spec: SessionSpec) -> None:
    assert sum(path.stat().st_blocks * 512 for path in state.folder.iterdir()) < spec.memory_mib << 19
    for name in (MEMORY, DISK, DEVICES):
        assert b"toolsmith-run" not in (state.folder / name).read_bytes()


def short(state: Path) -> str:
    os.truncate(state / MEMORY, 1 << 20)
    return f"its file {MEMORY} is not what was kept"


def lengthened(state: Path) -> str:
    with (state / DISK).open("ab") as file:
        file.write(b"x")
    return f"its file {DISK} is not what was kept"


def of_another_machine(state: Path) -> str:
    """Whole, by its record, and yet nothing that QEMU could resume."""
    (state / DEVICES).write_bytes(b"x" * 1000)
    record = json.loads((state / RECORD).read_text())
    with (state / DEVICES).open("rb") as file:
        record["digests"][DEVICES] = kept.digest_of(file)
    (state / RECORD).write_text(json.dumps(record))
    return "the kept machine cannot be used: "


def of_another_qemu(state: Path) -> str:
    record = json.loads((state / RECORD).read_text())
    record["facts"]["QEMU"] = "of yesterday"
    (state / RECORD).write_text(json.dumps(record))
    return "it is of another QEMU"


@pytest.mark.parametrize("spoil", [short, lengthened, of_another_machine, of_another_qemu])
def test_a_state_that_does_not_do_is_told_of_and_gone_and_a_machine_is_started(
    copy: Path,
    spec: SessionSpec,
    acceleration: Acceleration,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], str],
) -> None:
    why, told = spoil(copy), Told()
    started: list[object] = []

    def boot(*_: object, **__: object) -> None:
        started.append("anew")
        raise KeyError

    def make(*_: object) -> Kept:
        raise UnusableError("the test keeps none")

    monkeypatch.setattr(warm, "boot", boot)
    monkeypatch.setattr(warm, "_made", make)
    with pytest.raises(KeyError), Machine(spec, acceleration, told):
        pass
    assert why in told.notes[0]
    assert started == ["anew"]
    assert not copy.exists()


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.full)])
def test_a_run_that_is_killed_at_any_moment_leaves_a_whole_state_and_no_process(
    state: Kept, spec: SessionSpec, acceleration: Acceleration, kills: int
) -> None:
    command = ROOT / "scripts/toolsmith-image"
    argv: list[str | Path] = [command, "run", "--image", spec.image, "--workspace", spec.workspace, "--", "true"]
    for number in range(kills):
        with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as child:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.3 + 4 * number / kills)
            child.send_signal(signal.SIGKILL)
    assert_none_runs(state.folder)
    assert kept.find(state.folder.parent, warm.circumstances(spec, acceleration)) == state
    for name in (MEMORY, DISK, DEVICES):
        state.verify(name)


@pytest.mark.parametrize("megabytes", [0, 100])
def test_a_run_that_is_killed_while_it_makes_a_state_leaves_none_and_no_process(
    spec: SessionSpec, acceleration: Acceleration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    monkeypatch.setenv("TOOLSMITH_CACHE", os.fspath(tmp_path))
    command = ROOT / "scripts/toolsmith-image"
    argv: list[str | Path] = [command, "run", "--image", spec.image, "--workspace", spec.workspace, "--", "true"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as child:
        while sum(path.stat().st_blocks >> 11 for path in tmp_path.glob(f"warm/*/state/{MEMORY}")) <= megabytes:
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
    assert_none_runs(tmp_path)
    states = kept.states_folder()
    assert kept.find(states, warm.circumstances(spec, acceleration)) is None
    with warm._room(states, 1):  # the next one takes away what is left
        pass
    assert [path for path in states.iterdir() if path.is_dir()] == []


def assert_none_runs(word: Path) -> None:
    until = time.monotonic() + 20
    while (left := _machines(word)) and time.monotonic() < until:
        time.sleep(0.05)
    assert left == []


def _machines(word: Path) -> list[list[str]]:
    return [line for line in running_with(os.fspath(word)).values() if any("qemu-system" in part for part in line)]
