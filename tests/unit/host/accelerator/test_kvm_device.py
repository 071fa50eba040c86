import os
from pathlib import Path

import pytest

from ci.host.accelerator.kvm_device import find_device_fault


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
