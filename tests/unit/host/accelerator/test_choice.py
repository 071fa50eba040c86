from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pytest_mock import MockerFixture, MockType

from ci.host import accelerator
from ci.host.accelerator import (
    Acceleration,
    Accelerator,
    Choice,
    find_guest_fault,
    find_kvm_fault,
    probe,
    remembered,
    trial,
    with_other,
)
from ci.host.accelerator.kernel import HostKernel
from ci.host.accelerator.kvm_device import KvmFault
from ci.host.errors import AcceleratorError, HostError, InputError

BROKEN = KvmFault(what="it is broken", fix="mend it")


KVM = Acceleration(accelerator=Accelerator.KVM, reason="a guest ran with it")
TCG = Acceleration(accelerator=Accelerator.TCG, reason="chosen", chosen=True)


@pytest.fixture
def fault(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch) -> MockType:
    """KVM works; returns what stands in for the look at it."""
    monkeypatch.delenv("TOOLSMITH_ACCELERATOR", raising=False)
    return mocker.patch.object(accelerator, "find_kvm_fault", return_value=None)


def test_auto_takes_kvm_where_a_guest_ran_and_else_tcg_and_says_why(fault: MockType) -> None:
    assert probe() == probe("auto") == KVM
    fault.return_value = BROKEN
    assert probe() == Acceleration(accelerator=Accelerator.TCG, reason="it is broken", fault=BROKEN)


def test_kvm_asked_for_and_broken_is_an_error_with_the_fix(fault: MockType) -> None:
    assert probe("kvm") == replace(KVM, chosen=True)
    fault.return_value = BROKEN
    with pytest.raises(HostError, match="it is broken") as caught:
        probe("kvm")
    assert caught.value.hint == "mend it"


def test_tcg_can_be_chosen_without_looking_at_kvm(fault: MockType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe("tcg") == TCG
    monkeypatch.setenv("TOOLSMITH_ACCELERATOR", "tcg")
    assert probe("auto") == probe() == TCG
    fault.assert_not_called()


@pytest.mark.parametrize(
    ("choice", "variable", "effective"),
    [("auto", "", "auto"), ("auto", "kvm", "kvm"), ("auto", "auto", "auto"), ("kvm", "tcg", "kvm")],
)
@pytest.mark.usefixtures("fault")
def test_the_variable_only_speaks_where_no_flag_did(
    choice: Choice, variable: str, effective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLSMITH_ACCELERATOR", variable)
    assert probe(choice) == replace(KVM, chosen=effective == "kvm")


@pytest.mark.usefixtures("fault")
def test_an_unknown_accelerator_in_the_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLSMITH_ACCELERATOR", "KVM")
    with pytest.raises(InputError, match="TOOLSMITH_ACCELERATOR is 'KVM'") as caught:
        probe()
    assert "tcg" in caught.value.hint


def test_time_limits_grow_without_kvm() -> None:
    assert KVM.scaled(10) == 10
    assert TCG.scaled(10) == 60
    assert replace(TCG, sharing=1.5).scaled(10) == 90


def test_qemu_gets_a_cpu_that_the_accelerator_can_run() -> None:
    assert Accelerator.KVM.qemu_args == ["-accel", "kvm", "-cpu", "host"]
    assert Accelerator.TCG.qemu_args == ["-accel", "tcg,thread=multi", "-cpu", "max"]


def test_no_guest_may_be_silent_for_ten_minutes() -> None:
    assert KVM.silence == 60
    assert TCG.silence == 360
    assert replace(TCG, sharing=4).silence == 540


KERNEL = HostKernel(image=Path("/boot/vmlinuz-6"), modules=Path("/lib/modules/6"))


@pytest.fixture
def trials(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MockType:
    """KVM's device is fine, and a kernel runs; returns what stands in for its trial."""
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path))
    monkeypatch.delenv("TOOLSMITH_ACCELERATOR", raising=False)
    mocker.patch.object(accelerator, "find_device_fault", return_value=None)
    mocker.patch.object(accelerator, "find_kernel", return_value=KERNEL)
    mocker.patch.object(remembered, "question", return_value="a question")
    return mocker.patch.object(trial, "find_kernel_fault", return_value=None)


@pytest.mark.parametrize("fault", [None, BROKEN])
def test_a_kernel_is_tried_once_and_anew_where_that_is_asked_for(trials: MockType, fault: KvmFault | None) -> None:
    trials.return_value = fault
    assert [find_kvm_fault() for _ in range(3)] == [fault] * 3
    assert trials.call_count == 1
    trials.return_value = None if fault else BROKEN
    assert find_kvm_fault(anew=True) == find_kvm_fault() == trials.return_value
    assert trials.call_count == 2


def test_another_question_is_not_answered_by_what_is_remembered(trials: MockType, mocker: MockerFixture) -> None:
    assert find_kvm_fault() is None
    mocker.patch.object(remembered, "question", return_value="the question after a reboot")
    trials.return_value = BROKEN
    assert find_kvm_fault() == BROKEN


def test_a_device_that_cannot_be_opened_is_told_whatever_is_remembered(trials: MockType, mocker: MockerFixture) -> None:
    assert find_kvm_fault() is None
    mocker.patch.object(accelerator, "find_device_fault", return_value=BROKEN)
    assert find_kvm_fault() == BROKEN
    assert trials.call_count == 1


@pytest.mark.parametrize("kernel", [None, KERNEL])
def test_where_no_kernel_can_be_tried_the_small_guest_decides(
    trials: MockType, mocker: MockerFixture, kernel: HostKernel | None
) -> None:
    mocker.patch.object(accelerator, "find_kernel", return_value=kernel)
    trials.side_effect = LookupError("no module virtio_blk")
    mocker.patch.object(trial, "find_sector_fault", return_value=BROKEN)
    assert find_guest_fault(Accelerator.KVM) == BROKEN


Act = Callable[[Acceleration], str]
DEAD = AcceleratorError("the appliance gave no sign of life for 60 s, with KVM")


def failing_with_kvm(error: Exception = DEAD) -> Act:
    def act(acceleration: Acceleration) -> str:
        if acceleration.accelerator is Accelerator.KVM:
            raise error
        return acceleration.reason

    return act


def test_where_kvm_fails_a_guest_it_is_started_once_more_with_tcg_which_is_said_and_remembered(
    trials: MockType,
) -> None:
    lines: list[str] = []
    assert with_other(probe(), failing_with_kvm(), lines.append) == DEAD.message
    assert lines == [f"{DEAD.message}; once more with TCG, which is slower"]
    assert probe().accelerator is Accelerator.TCG
    assert probe().reason == DEAD.message
    assert trials.call_count == 1


def test_kvm_that_a_person_asked_for_is_not_replaced(trials: MockType) -> None:
    with pytest.raises(AcceleratorError, match="with KVM") as caught:
        with_other(probe("kvm"), failing_with_kvm(), pytest.fail)
    assert "TOOLSMITH_ACCELERATOR=tcg" in caught.value.hint
    assert probe().accelerator is Accelerator.KVM
    assert trials.call_count == 1


def test_kvm_is_not_blamed_where_the_guest_fails_with_tcg_too(trials: MockType) -> None:
    lines: list[str] = []
    assert with_other(probe(), failing_with_kvm(), lines.append, proves=lambda _result: False)

    def never_works(_acceleration: Acceleration) -> str:
        raise DEAD

    with pytest.raises(AcceleratorError):
        with_other(probe(), never_works, lines.append)
    assert len(lines) == 2
    assert probe().accelerator is Accelerator.KVM
    assert trials.call_count == 1


def test_another_failure_is_no_reason_for_another_accelerator(trials: MockType) -> None:
    with pytest.raises(HostError, match="disk is full"):
        with_other(probe(), failing_with_kvm(HostError("the disk is full")), pytest.fail)
    assert trials.call_count == 1


@pytest.mark.parametrize("choice", ["auto", "tcg"])
def test_what_works_is_done_once(trials: MockType, choice: Choice) -> None:
    done: list[Acceleration] = []
    with_other(probe(choice), done.append, pytest.fail)
    assert len(done) == 1
    assert trials.call_count == (choice == "auto")
