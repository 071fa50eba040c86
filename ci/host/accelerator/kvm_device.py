"""/dev/kvm itself: what keeps it from being used at all. Cheap, so it is asked every time."""

import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

DEVICE = Path("/dev/kvm")

KVM_GET_API_VERSION = 0xAE00  # _IO(KVMIO, 0x00) in linux/kvm.h
KVM_API_VERSION = 12  # stable since Linux 2.6.22; the API's documentation says to refuse any other

NO_DEVICE = "Switch virtualisation on in the firmware (or nested virtualisation in the host), or use `tcg`: slower."
NO_GUESTS = "This machine's KVM cannot run guests. Set TOOLSMITH_ACCELERATOR=tcg (slower), or take another machine."
NO_PERMISSION = (
    "Let your user open it: `sudo usermod -aG kvm $USER` and log in again. On a CI runner: "
    """echo 'KERNEL=="kvm", GROUP="kvm", MODE="0666"' | sudo tee /etc/udev/rules.d/99-kvm.rules && """
    "sudo udevadm control --reload-rules && sudo udevadm trigger --name-match=kvm"
)


@dataclass(frozen=True, kw_only=True)
class KvmFault:
    """What keeps KVM from working, and what to do about it."""

    what: str
    fix: str


def find_device_fault(device: Path) -> KvmFault | None:
    """What is wrong with the device itself."""
    try:
        if not stat.S_ISCHR(device.stat().st_mode):
            return KvmFault(what=f"{device} is not a device", fix=NO_GUESTS)
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return KvmFault(what=f"{device} does not exist", fix=NO_DEVICE)
    except PermissionError:
        return KvmFault(what=f"this user may not open {device}", fix=NO_PERMISSION)
    except OSError as error:
        return KvmFault(what=f"{device} cannot be opened: {error.strerror}", fix=NO_DEVICE)
    try:
        return _find_interface_fault(device, handle)
    finally:
        os.close(handle)


def _find_interface_fault(device: Path, handle: int) -> KvmFault | None:
    try:
        version = fcntl.ioctl(handle, KVM_GET_API_VERSION)
    except OSError as error:
        return KvmFault(what=f"{device} does not answer as KVM: {error.strerror}", fix=NO_GUESTS)
    if version != KVM_API_VERSION:
        return KvmFault(what=f"{device} has API version {version}, not {KVM_API_VERSION}", fix=NO_GUESTS)
    return None
