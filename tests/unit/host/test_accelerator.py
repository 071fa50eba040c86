import os
from dataclasses import replace
from pathlib import Path

import pytest

from ci.host import accelerator
from ci.host.accelerator import (
    Acceleration,
    Accelerator,
    Choice,
    Fault,
    boot_sector,
    decide,
    effective_choice,
    find_device_fault,
    last_words,
    probe,
    probe_argv,
)
from ci.host.errors import HostError, InputError, ToolError

BROKEN = Fault(what="it is broken", fix="mend it")


def test_auto_takes_kvm_where_a_guest_ran() -> None:
    assert decide("auto", None).accelerator is Accelerator.KVM


def test_auto_takes_tcg_and_says_why() -> None:
    assert decide("auto", BROKEN) == Acceleration(accelerator=Accelerator.TCG, reason="it is broken")


def test_kvm_asked_for_and_broken_is_an_error_with_the_fix() -> None:
    with pytest.raises(HostError, match="it is broken") as caught:
        decide("kvm", BROKEN)
    assert caught.value.hint == "mend it"


def test_tcg_can_be_chosen_without_looking_at_kvm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "find_kvm_fault", lambda: pytest.fail("looked at KVM"))
    assert probe("tcg").reason == "chosen"
    monkeypatch.setenv("TOOLSMITH_ACCELERATOR", "tcg")
    assert probe("auto") == probe() == Acceleration(accelerator=Accelerator.TCG, reason="chosen")


@pytest.mark.parametrize(
    ("choice", "variable", "effective"),
    [("auto", "", "auto"), ("auto", "kvm", "kvm"), ("auto", "auto", "auto"), ("kvm", "tcg", "kvm")],
)
def test_the_variable_only_speaks_where_no_flag_did(choice: Choice, variable: str, effective: str) -> None:
    assert effective_choice(choice, variable) == effective


def test_an_unknown_accelerator_in_the_variable_is_refused() -> None:
    with pytest.raises(InputError, match="TOOLSMITH_ACCELERATOR is 'KVM'") as caught:
        effective_choice("auto", "KVM")
    assert "tcg" in caught.value.hint


def test_time_limits_grow_without_kvm() -> None:
    assert decide("auto", None).scaled(10) == 10
    assert decide("tcg", None).scaled(10) == 60
    assert replace(decide("tcg", None), sharing=1.5).scaled(10) == 90


def test_qemu_gets_a_cpu_that_the_accelerator_can_run() -> None:
    assert decide("auto", None).qemu_args() == ["-accel", "kvm", "-cpu", "host"]
    assert decide("tcg", None).qemu_args() == ["-accel", "tcg,thread=multi", "-cpu", "max"]


def test_libguestfs_is_kept_from_trying_kvm_only_where_it_does_not_work() -> None:
    assert decide("auto", None).guestfs_environment() == {"LIBGUESTFS_BACKEND": "direct"}
    assert decide("tcg", None).guestfs_environment() == {
        "LIBGUESTFS_BACKEND": "direct",
        "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
        "LIBGUESTFS_APPEND": "tsc=unstable",
    }


def test_a_missing_device_is_told_from_a_file_and_from_another_device(tmp_path: Path) -> None:
    missing = find_device_fault(tmp_path / "kvm")
    assert missing is not None
    assert "does not exist" in missing.what
    file = tmp_path / "file"
    file.touch()
    no_device = find_device_fault(file)
    assert no_device is not None
    assert "is not a device" in no_device.what
    other = find_device_fault(Path("/dev/null"))
    assert other is not None
    assert "does not answer as KVM" in other.what


def test_a_device_without_permission_names_the_udev_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    fault = find_device_fault(Path("/dev/null"))
    assert fault is not None
    assert "may not open" in fault.what
    assert "/etc/udev/rules.d" in fault.fix


def test_the_boot_sector_is_one_that_a_bios_boots() -> None:
    sector = boot_sector()
    assert len(sector) == 512
    assert sector[510:] == b"\x55\xaa"


def test_a_comma_in_the_path_is_not_an_option_to_qemu() -> None:
    argv = probe_argv(Accelerator.TCG, Path("/srv/a,b/boot.img"))
    assert "file=/srv/a,,b/boot.img,format=raw,if=ide,snapshot=on" in argv


def test_the_reason_is_what_qemu_said_last() -> None:
    error = ToolError("qemu failed with exit code 1", details="warning: x\nfailed to set MSR\n\n")
    assert last_words(error) == "failed to set MSR (qemu failed with exit code 1)"
    assert last_words(ToolError("qemu was killed by SIGABRT")) == "qemu was killed by SIGABRT"
