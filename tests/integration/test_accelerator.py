import os
from pathlib import Path

import pytest

from ci.host.accelerator import Accelerator, find_device_fault, find_guest_fault, find_kvm_fault, probe
from ci.host.errors import HostError

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOOLSMITH_ACCELERATOR", raising=False)


def test_the_tiny_guest_runs_under_tcg() -> None:
    assert find_guest_fault(Accelerator.TCG) is None


def test_the_probe_agrees_with_what_a_guest_does() -> None:
    fault = find_kvm_fault()
    acceleration = probe()
    if fault is None:
        assert acceleration.accelerator is Accelerator.KVM
        assert probe("kvm") == acceleration
    else:
        assert acceleration.accelerator is Accelerator.TCG
        assert acceleration.reason == fault.what
        with pytest.raises(HostError, match="KVM was asked for") as caught:
            probe("kvm")
        assert caught.value.hint


def test_a_device_that_opens_but_runs_no_guest_is_found_out() -> None:
    if find_device_fault(Path("/dev/kvm")) is not None:
        pytest.skip("/dev/kvm cannot be opened here")
    fault = find_guest_fault(Accelerator.KVM)
    if fault is None:
        pytest.skip("KVM works here")
    assert "a guest does not run with kvm: " in fault.what


def test_a_qemu_that_says_nothing_and_fails_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    qemu = tmp_path / "qemu-system-x86_64"
    qemu.write_text("#!/bin/sh\nexit 0\n")
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    fault = find_guest_fault(Accelerator.KVM)
    assert fault is not None
    assert "exit code 0" in fault.what
