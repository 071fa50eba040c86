"""Which accelerator is believed, and for how long: with the KVM of this machine, whatever it is, and with others."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.host import accelerator
from ci.host.accelerator import (
    Acceleration,
    Accelerator,
    find_guest_fault,
    find_kvm_fault,
    probe,
    trial,
    with_other,
)
from ci.host.accelerator.kernel import find_kernel
from ci.host.appliance import guestfish
from ci.host.errors import AcceleratorError, HostError
from tests.support import broken_kvm

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

TCG_ARGS = Accelerator.TCG.qemu_args
SILENCE = 3.0


@pytest.fixture(autouse=True)
def _nothing_chosen_or_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TOOLSMITH_ACCELERATOR", raising=False)
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "cache"))


def test_a_kernel_runs_under_tcg_to_the_end_of_its_trial() -> None:
    assert find_guest_fault(Accelerator.TCG) is None


def test_the_tiny_guest_runs_under_tcg() -> None:
    assert trial.find_sector_fault(TCG_ARGS) is None


def test_the_probe_agrees_with_what_a_guest_does() -> None:
    fault = find_kvm_fault()
    acceleration = probe()
    if fault is None:
        assert acceleration.accelerator is Accelerator.KVM
        assert probe("kvm").accelerator is Accelerator.KVM
    else:
        assert acceleration.accelerator is Accelerator.TCG
        assert acceleration.reason == fault.what
        with pytest.raises(HostError, match="KVM was asked for") as caught:
            probe("kvm")
        assert caught.value.hint


Argv = list[str]


def without(argv: Argv, option: str, value: str | None = None) -> Argv:
    """`argv` with another value of `option`, or without it."""
    at = argv.index(option)
    return argv[:at] + ([option, value] if value else []) + argv[at + 2 :]


@pytest.mark.parametrize(
    ("change", "last_word"),
    [
        (lambda argv: without(argv, "-initrd"), "did not get as far as its init"),
        (lambda argv: without(argv, "-smp", "1"), "its last word was: the timer of CPU 0 works"),
        (lambda argv: without(argv, "-drive"), "its last word was: the timer of CPU 1 works"),
    ],
    ids=["no init", "one CPU", "no disk"],
)
def test_a_machine_that_lacks_what_a_kernel_needs_is_found_out(
    change: Callable[[Argv], Argv], last_word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trial.kernel_argv
    monkeypatch.setattr(trial, "kernel_argv", lambda *arguments: change(real(*arguments)))
    kernel = find_kernel()
    assert kernel is not None
    fault = trial.find_kernel_fault(TCG_ARGS, 2, kernel)
    assert fault is not None
    assert last_word in fault.what


def test_a_qemu_that_says_nothing_and_fails_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\nexit 0\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    small, whole = trial.find_sector_fault(TCG_ARGS), find_guest_fault(Accelerator.KVM)
    assert small is not None
    assert "exit code 0" in small.what
    assert whole is not None
    assert "did not get as far as its init" in whole.what


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[broken_kvm.Fault], Path]:
    """Puts such a QEMU first in PATH, on a machine whose /dev/kvm is fine; returns its folder."""

    def put(fault: broken_kvm.Fault) -> Path:
        monkeypatch.setenv("PATH", broken_kvm.put_in_path(tmp_path / "qemu", fault))
        monkeypatch.setattr(accelerator, "find_device_fault", lambda _device: None)
        return tmp_path / "qemu"

    return put


StandIn = Callable[[broken_kvm.Fault], Path]


@pytest.mark.parametrize(
    ("fault", "reason"), [(broken_kvm.Fault.HANGS, "was silent for 3 s"), (broken_kvm.Fault.ABORTS, "kvm_buf_set_msrs")]
)
def test_a_kvm_that_fails_every_kernel_is_not_believed(
    fault: broken_kvm.Fault, reason: str, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "SILENCE_SECONDS", SILENCE)
    folder = stand_in(fault)
    assert trial.find_sector_fault(TCG_ARGS) is None
    before = time.monotonic()
    acceleration = probe()
    assert time.monotonic() - before < 60
    assert acceleration.accelerator is Accelerator.TCG
    assert reason in acceleration.reason
    assert probe() == acceleration
    assert broken_kvm.starts(folder) == 1
    with pytest.raises(HostError, match=reason) as caught:
        probe("kvm")
    assert "KVM was asked for" in caught.value.message
    assert "TOOLSMITH_ACCELERATOR=tcg" in caught.value.hint
    assert broken_kvm.left_running(folder) == []


def test_a_kvm_that_is_slow_but_works_is_believed_and_runs_the_appliance_which_writes_while_a_command_lasts(
    stand_in: StandIn, tmp_path: Path
) -> None:
    folder = stand_in(broken_kvm.Fault.SLOW)
    acceleration = probe()
    assert acceleration.accelerator is Accelerator.KVM
    two_beats = f"sleep {2 * accelerator.SILENCE_SECONDS / 10 + 1:.0f}"
    assert with_other(acceleration, ask_appliance(tmp_path, two_beats), pytest.fail) == "kvm"
    assert "alive" in (tmp_path / "appliance" / "appliance.log").read_text(errors="replace")
    assert broken_kvm.starts(folder) == 2
    assert broken_kvm.left_running(folder) == []


def test_an_appliance_that_hangs_with_kvm_is_started_once_more_with_tcg(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "SILENCE_SECONDS", SILENCE)
    folder = stand_in(broken_kvm.Fault.SECOND_START)
    acceleration = probe()
    assert acceleration.accelerator is Accelerator.KVM
    # Not in a hurry where it works: the limit of a test's length would end what is only slow.
    monkeypatch.setattr(accelerator, "TCG_SLOWDOWN", 60)
    lines: list[str] = []
    assert with_other(acceleration, ask_appliance(tmp_path), lines.append) == "tcg"
    (line,) = lines
    assert line == (
        "the libguestfs appliance gave no sign of life for 3 s at `run`, with KVM; once more with TCG, which is slower"
    )
    assert probe().accelerator is Accelerator.TCG
    assert "no sign of life" in probe().reason
    assert broken_kvm.starts(folder) == 2
    assert broken_kvm.left_running(folder) == []


def test_an_appliance_that_hangs_with_the_kvm_that_was_asked_for_is_an_error_that_names_it(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "SILENCE_SECONDS", SILENCE)
    folder = stand_in(broken_kvm.Fault.SECOND_START)
    with pytest.raises(AcceleratorError, match="no sign of life for 3 s at `run`, with KVM") as caught:
        with_other(probe("kvm"), ask_appliance(tmp_path), pytest.fail)
    assert "TOOLSMITH_ACCELERATOR=tcg" in caught.value.hint
    assert broken_kvm.left_running(folder) == []


def test_an_appliance_that_dies_with_kvm_is_told_from_one_that_fails(stand_in: StandIn, tmp_path: Path) -> None:
    folder = stand_in(broken_kvm.Fault.ABORTS)
    kvm = Acceleration(accelerator=Accelerator.KVM, reason="a test")
    with pytest.raises(AcceleratorError, match="died at `run`, with KVM"):
        ask_appliance(tmp_path)(kvm)
    # Not even to ask what QEMU can does libguestfs touch a KVM that aborts.
    tcg = Acceleration(accelerator=Accelerator.TCG, reason="a test")
    assert ask_appliance(tmp_path)(tcg) == "tcg"
    assert broken_kvm.left_running(folder) == []


def ask_appliance(folder: Path, command: str = "true") -> Callable[[Acceleration], str]:
    """Start an appliance, run a command in it, and return what it was started with."""

    def act(acceleration: Acceleration) -> str:
        own = folder / "appliance"
        own.mkdir(exist_ok=True)
        with guestfish.appliance(acceleration, own) as guest:
            guest.command("scratch", "16M")
            guest.start()
            assert guest.command("debug", "sh", f"{command} && echo works").strip() == "works"
        return acceleration.accelerator

    return act
