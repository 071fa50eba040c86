"""Whether KVM really works here: found out by starting a guest, because nothing less tells.

/dev/kvm can exist, open, answer every ioctl, and still abort each guest, as in some nested and sandboxed machines.
QEMU does not help: `accel=kvm:tcg` only falls back where the device cannot be opened.
"""

import fcntl
import os
import stat
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeAlias

from ci.host.errors import HostError, InputError, ToolError
from ci.host.process import run

Choice: TypeAlias = Literal["auto", "kvm", "tcg"]

DEVICE = Path("/dev/kvm")
CHOICES: tuple[Choice, ...] = ("auto", "kvm", "tcg")
CHOICE_VARIABLE = "TOOLSMITH_ACCELERATOR"

TCG_SLOWDOWN = 6.0
PROBE_SECONDS = 15.0

KVM_GET_API_VERSION = 0xAE00  # _IO(KVMIO, 0x00) in linux/kvm.h
KVM_API_VERSION = 12  # stable since Linux 2.6.22; the API's documentation says to refuse any other

PROBE_VALUE = 0x2A
PROBE_EXIT_CODE = PROBE_VALUE << 1 | 1  # what isa-debug-exit makes of the value the guest writes

NO_DEVICE = "Switch virtualisation on in the firmware (or nested virtualisation in the host), or use `tcg`: slower."
NO_GUESTS = "This machine's KVM cannot run guests; use `tcg` (slower), or another machine."
NO_PERMISSION = (
    "Let your user open it: `sudo usermod -aG kvm $USER` and log in again. On a CI runner: "
    """echo 'KERNEL=="kvm", GROUP="kvm", MODE="0666"' | sudo tee /etc/udev/rules.d/99-kvm.rules && """
    "sudo udevadm control --reload-rules && sudo udevadm trigger --name-match=kvm"
)


class Accelerator(StrEnum):
    """How QEMU runs a guest's instructions."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What keeps KVM from working, and what to do about it."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """The accelerator in use, and why it is this one.

    `sharing` is how many processors of guests have to do with one of this machine's.
    """

    accelerator: Accelerator
    reason: str
    sharing: float = 1.0

    def scaled(self, seconds: float) -> float:
        """Lengthen a time limit that was chosen for KVM and enough processors to what is there."""
        return seconds * self.sharing * (TCG_SLOWDOWN if self.accelerator is Accelerator.TCG else 1.0)

    def qemu_args(self) -> list[str]:
        """QEMU's arguments for this accelerator and its best CPU; `-cpu host` aborts under TCG."""
        return qemu_args(self.accelerator)

    def guestfs_environment(self) -> dict[str, str]:
        """What makes libguestfs use the same accelerator; it would try /dev/kvm and abort."""
        environment = {"LIBGUESTFS_BACKEND": "direct"}
        if self.accelerator is Accelerator.TCG:
            environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
            # libguestfs has its kernel trust the TSC, whose frequency it measures wrongly on a busy machine: seen were
            # 30 MHz instead of 2.6 GHz. The appliance's clock then runs 87 times as fast, and it does little else than
            # to answer its timer.
            environment["LIBGUESTFS_APPEND"] = "tsc=unstable"
        return environment


def qemu_args(accelerator: Accelerator) -> list[str]:
    """QEMU's arguments for an accelerator."""
    match accelerator:
        case Accelerator.KVM:
            return ["-accel", "kvm", "-cpu", "host"]
        case Accelerator.TCG:
            return ["-accel", "tcg,thread=multi", "-cpu", "max"]


def probe(choice: Choice = "auto") -> Acceleration:
    """Find the accelerator to use.

    `auto` gives way to the environment variable TOOLSMITH_ACCELERATOR, and then takes KVM where a guest runs with it.
    Raises HostError where `kvm` is asked for and does not work, InputError where the variable has an unknown value.
    """
    choice = effective_choice(choice, os.environ.get(CHOICE_VARIABLE, ""))
    fault = None if choice == "tcg" else find_kvm_fault()
    return decide(choice, fault)


def effective_choice(choice: Choice, variable: str) -> Choice:
    """`choice`, or what the environment variable says where that is `auto`."""
    if choice != "auto" or not variable:
        return choice
    for known in CHOICES:
        if variable == known:
            return known
    raise InputError(f"{CHOICE_VARIABLE} is {variable!r}", hint=f"Set it to one of: {', '.join(CHOICES)}.")


def decide(choice: Choice, fault: Fault | None) -> Acceleration:
    """Turn a choice and what is wrong with KVM into an acceleration."""
    if choice == "tcg":
        return Acceleration(accelerator=Accelerator.TCG, reason="chosen")
    if fault is None:
        return Acceleration(accelerator=Accelerator.KVM, reason="a guest ran with it")
    if choice == "kvm":
        raise HostError(f"KVM was asked for, but {fault.what}", hint=fault.fix)
    return Acceleration(accelerator=Accelerator.TCG, reason=fault.what)


def find_kvm_fault(device: Path = DEVICE) -> Fault | None:
    """What keeps KVM from running a guest; None where one ran. Raises HostError where QEMU is not installed."""
    return find_device_fault(device) or find_guest_fault(Accelerator.KVM)


def find_device_fault(device: Path) -> Fault | None:
    """What is wrong with the device itself."""
    try:
        if not stat.S_ISCHR(device.stat().st_mode):
            return Fault(what=f"{device} is not a device", fix=NO_GUESTS)
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Fault(what=f"{device} does not exist", fix=NO_DEVICE)
    except PermissionError:
        return Fault(what=f"this user may not open {device}", fix=NO_PERMISSION)
    except OSError as error:
        return Fault(what=f"{device} cannot be opened: {error.strerror}", fix=NO_DEVICE)
    try:
        return _find_interface_fault(device, handle)
    finally:
        os.close(handle)


def _find_interface_fault(device: Path, handle: int) -> Fault | None:
    try:
        version = fcntl.ioctl(handle, KVM_GET_API_VERSION)
    except OSError as error:
        return Fault(what=f"{device} does not answer as KVM: {error.strerror}", fix=NO_GUESTS)
    if version != KVM_API_VERSION:
        return Fault(what=f"{device} has API version {version}, not {KVM_API_VERSION}", fix=NO_GUESTS)
    return None


def find_guest_fault(accelerator: Accelerator) -> Fault | None:
    """What goes wrong when a guest of 512 bytes is started."""
    with tempfile.TemporaryDirectory(prefix="toolsmith-probe-") as folder:
        sector = Path(folder, "boot.img")
        sector.write_bytes(boot_sector())
        try:
            run(probe_argv(accelerator, sector), timeout=PROBE_SECONDS, ok=(PROBE_EXIT_CODE,))
        except ToolError as error:
            return Fault(what=f"a guest does not run with {accelerator}: {last_words(error)}", fix=NO_GUESTS)
    return None


def boot_sector() -> bytes:
    """Return a boot sector that writes PROBE_VALUE to isa-debug-exit, which ends QEMU."""
    code = bytes([0xB0, PROBE_VALUE, 0xE6, 0xF4, 0xF4])  # mov al, value; out 0xf4, al; hlt
    return code.ljust(510, b"\0") + b"\x55\xaa"


def probe_argv(accelerator: Accelerator, sector: Path) -> list[str]:
    """QEMU's arguments to run a boot sector that ends by itself."""
    file = os.fspath(sector).replace(",", ",,")  # how QEMU's options write a comma
    # fmt: off
    return [
        "qemu-system-x86_64", *qemu_args(accelerator),
        "-m", "16",
        "-nodefaults", "-no-user-config",
        "-display", "none",
        "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
        "-drive", f"file={file},format=raw,if=ide,snapshot=on",
    ]
    # fmt: on


def last_words(error: ToolError) -> str:
    """QEMU's own reason on one line, or how it ended where it said nothing."""
    lines = [line.strip() for line in error.details.splitlines() if line.strip()]
    return f"{lines[-1].removeprefix('qemu-system-x86_64: ')} ({error.message})" if lines else error.message
