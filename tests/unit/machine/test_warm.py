import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.host import process
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import BootError
from ci.host.qcow2 import QCOW2_HEADER, QCOW2_MAGIC
from ci.machine import kept, warm
from ci.machine.kept import Kept, UnusableError
from ci.machine.spec import SessionSpec

TCG = Acceleration(accelerator=Accelerator.TCG, reason="a test")
STATE = Kept(Path("/state"), {})


class Starts:
    """What `warm` would do with a machine, and what comes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.said: list[str] = []
        self.found: Kept | Exception | None = None
        self.made: Kept | Exception = STATE
        self.resumed: list[Exception | None] = [None]
        monkeypatch.setattr(kept, "find", lambda *_: self._come("found", self.found))
        monkeypatch.setattr(warm, "_made", lambda *_: self._come("made", self.made))
        monkeypatch.setattr(warm, "_resume", lambda *_, **__: self._come("resumed", self.resumed.pop(0)))
        monkeypatch.setattr(warm, "boot", lambda *_, **__: self._come("booted", None))
        monkeypatch.setattr(Kept, "remove", lambda _: self.done.append("removed"))

    def _come(self, what: str, result: Kept | Exception | None) -> Kept | None:
        self.done.append(what)
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starts:
    monkeypatch.setenv("TOOLSMITH_CACHE", os.fspath(tmp_path / "cache"))
    monkeypatch.delenv(warm.VARIABLE, raising=False)
    monkeypatch.setattr(warm, "circumstances", lambda *_: {})
    return Starts(monkeypatch)


@pytest.fixture
def spec(tmp_path: Path) -> SessionSpec:
    image = tmp_path / "image.qcow2"
    image.write_bytes(QCOW2_MAGIC + QCOW2_HEADER.pack(3, 0, 0, 0, 0)[4:])
    return SessionSpec(image, tmp_path)


def start(starts: Starts, spec: SessionSpec, folder: Path) -> list[str]:
    warm.start(spec, folder, TCG, starts.said.append)
    return starts.done


def test_the_first_start_keeps_a_state_and_goes_on_from_it(starts: Starts, spec: SessionSpec, tmp_path: Path) -> None:
    assert start(starts, spec, tmp_path) == ["found", "made", "resumed"]
    assert starts.said == []


def test_every_later_one_only_goes_on_from_it(starts: Starts, spec: SessionSpec, tmp_path: Path) -> None:
    starts.found = STATE
    assert start(starts, spec, tmp_path) == ["found", "resumed"]
    assert starts.said == []


def test_a_state_that_was_refused_is_told_of_and_replaced(starts: Starts, spec: SessionSpec, tmp_path: Path) -> None:
    starts.found = UnusableError("it is of another QEMU")
    assert start(starts, spec, tmp_path) == ["found", "made", "resumed"]
    assert starts.said == ["the machine kept from an earlier start is not used: it is of another QEMU"]


@pytest.mark.parametrize("failure", [UnusableError("it is short"), BootError("it is short")])
def test_one_that_does_not_go_on_is_told_of_and_replaced(
    starts: Starts, spec: SessionSpec, tmp_path: Path, failure: Exception
) -> None:
    starts.found, starts.resumed = STATE, [failure, None]
    assert start(starts, spec, tmp_path) == ["found", "resumed", "removed", "made", "resumed"]
    assert starts.said == ["the kept machine cannot be used: it is short"]


def test_one_that_was_just_made_and_does_not_go_on_is_not_made_again(
    starts: Starts, spec: SessionSpec, tmp_path: Path
) -> None:
    starts.resumed = [BootError("no")]
    assert start(starts, spec, tmp_path) == ["found", "made", "resumed", "removed", "booted"]


def test_where_none_can_be_kept_a_machine_is_started_all_the_same(
    starts: Starts, spec: SessionSpec, tmp_path: Path
) -> None:
    starts.made = UnusableError("no space")
    assert start(starts, spec, tmp_path) == ["found", "made", "booted"]
    assert starts.said == ["no machine is kept for the next start: no space"]


def test_a_guest_that_does_not_come_up_is_started_once_only(starts: Starts, spec: SessionSpec, tmp_path: Path) -> None:
    starts.made = BootError("a panic")
    with pytest.raises(BootError, match="a panic"):
        start(starts, spec, tmp_path)
    assert starts.done == ["found", "made"]


def test_a_cache_that_is_of_no_use_is_told_of_once(
    starts: Starts, spec: SessionSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert start(starts, spec, tmp_path) == ["booted"]
    assert len(starts.said) == 1
    assert starts.said[0].endswith("warm cannot be written to")


def test_whoever_wants_neither_says_so(
    starts: Starts, spec: SessionSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(warm.VARIABLE, "no")
    assert start(starts, spec, tmp_path) == ["booted"]
    assert not (tmp_path / "cache").exists()


def test_a_disk_without_space_and_another_run_are_reasons_to_keep_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLSMITH_CACHE", os.fspath(tmp_path))
    states = kept.states_folder()
    with pytest.raises(UnusableError, match="MB are needed"), warm._room(states, 1 << 60):
        pass
    with warm._room(states, 1), pytest.raises(UnusableError, match="another run"), warm._room(states, 1):
        pass
    assert [path.name for path in states.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(("free", "wanted"), [(0, UnusableError), (1 << 30, BootError)])
def test_a_disk_that_fills_up_while_a_state_is_made_is_a_reason_to_keep_none(
    free: int, wanted: type[Exception], spec: SessionSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLSMITH_CACHE", os.fspath(tmp_path))
    states = kept.states_folder()
    usage = shutil.disk_usage(states)

    def die(*_: object, **__: object) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
        raise BootError("QEMU was killed by signal 7")

    monkeypatch.setattr(warm, "create_overlay", lambda *_: None)
    monkeypatch.setattr(warm, "virtual_size", lambda _: 0)
    monkeypatch.setattr(warm, "begun", die)
    with pytest.raises(wanted, match="killed by signal 7"):
        warm._made(states, {}, spec, tmp_path, TCG)
    assert [path.name for path in states.iterdir() if path.is_dir()] == []


def change_image(spec: SessionSpec) -> SessionSpec:
    spec.image.write_bytes(spec.image.read_bytes() + b"x")
    return spec


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (change_image, "image"),
        (lambda spec: SessionSpec(spec.image, spec.workspace, memory_mib=512), "memory"),
        (lambda spec: SessionSpec(spec.image, spec.workspace, {"out": spec.workspace}), "shares"),
    ],
)
def test_what_decides_whether_a_state_can_be_resumed_is_told_apart(
    spec: SessionSpec, change: Callable[[SessionSpec], SessionSpec], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "require_tool", lambda _: os.fspath(Path(os.__file__)))
    before = warm.circumstances(spec, TCG)
    assert warm.circumstances(spec, TCG) == before
    after = warm.circumstances(change(spec), TCG)
    assert before[name] != after[name]


def test_another_workspace_needs_no_other_state(spec: SessionSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "require_tool", lambda _: os.fspath(Path(os.__file__)))
    other = SessionSpec(spec.image, Path("/elsewhere"))
    assert warm.circumstances(spec, TCG) == warm.circumstances(other, TCG)


def test_another_processor_qemu_and_accelerator_are_told_apart(
    spec: SessionSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu, cpu = tmp_path / "qemu", tmp_path / "cpuinfo"
    monkeypatch.setattr(process, "require_tool", lambda _: os.fspath(qemu))
    monkeypatch.setattr(warm, "CPUINFO", cpu)
    qemu.write_text("7.2")
    cpu.write_text("flags: a b\ncpu MHz: 1\n\nflags: c\n")
    before = warm.circumstances(spec, TCG)
    cpu.write_text("flags: a b\ncpu MHz: 2\n\nflags: d\n")
    assert warm.circumstances(spec, TCG) == before
    cpu.write_text("flags: a\n")
    qemu.write_text("7.3")
    kvm = Acceleration(accelerator=Accelerator.KVM, reason="a test")
    changed = kept.difference(before, warm.circumstances(spec, kvm))
    assert changed == "another QEMU and another accelerator and another processor and another shape of the machine"
