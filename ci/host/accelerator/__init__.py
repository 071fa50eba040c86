"""How QEMU runs guests on this machine: with KVM where that works, interpreted by TCG elsewhere.

/dev/kvm can exist, open, answer every ioctl, even run a small guest, and still abort or hang every kernel, as in some
nested and sandboxed machines. QEMU does not help: `accel=kvm:tcg` only falls back where the device cannot be opened.
So a kernel is started before KVM is believed (trial.py), and whoever starts a guest later watches it (`with_other`).
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias, TypeVar

from ci.host import process
from ci.host.accelerator import remembered, trial
from ci.host.accelerator.kernel import find_kernel
from ci.host.accelerator.kvm_device import DEVICE, NO_GUESTS, KvmFault, find_device_fault
from ci.host.errors import AcceleratorError, HostError, InputError
from ci.host.progress import Reporter

Choice: TypeAlias = Literal["auto", "kvm", "tcg"]

CHOICES: tuple[Choice, ...] = ("auto", "kvm", "tcg")
CHOICE_VARIABLE = "TOOLSMITH_ACCELERATOR"

TCG_SLOWDOWN = 6.0
# Of the guests that build and test an image; the consumer's has one.
CPUS: Final = 2
# A guest that neither writes on its console nor answers for so long, with KVM, is not coming back. The appliance, whose
# clock makes it write, does so every tenth of that.
SILENCE_SECONDS: Final = 60.0
LONGEST_SILENCE_SECONDS: Final = process.SILENCE_SECONDS

T = TypeVar("T")


class Accelerator(str, Enum):  # noqa: UP042 - Python 3.10 has no StrEnum
    """How QEMU runs a guest's instructions."""

    __str__ = str.__str__

    KVM = "kvm"
    TCG = "tcg"

    @property
    def qemu_args(self) -> list[str]:
        """QEMU's arguments for this accelerator and its best CPU; `-cpu host` aborts under TCG."""
        if self is Accelerator.KVM:
            return ["-accel", "kvm", "-cpu", "host"]
        return ["-accel", "tcg,thread=multi", "-cpu", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """The accelerator in use, and why it is this one.

    `sharing` is how many processors of guests have to do with one of this machine's. `chosen`: a person wants no other.
    `fault` is what keeps KVM from being it, where a person did not.
    """

    accelerator: Accelerator
    reason: str
    sharing: float = 1.0
    chosen: bool = False
    fault: KvmFault | None = None

    def scaled(self, seconds: float) -> float:
        """Lengthen a time limit that was chosen for KVM and enough processors to what is there."""
        return seconds * self.sharing * (TCG_SLOWDOWN if self.accelerator is Accelerator.TCG else 1.0)

    @property
    def silence(self) -> float:
        """How many seconds a guest may go without a sign of life; never as long as ten minutes."""
        return min(self.scaled(SILENCE_SECONDS), LONGEST_SILENCE_SECONDS)


def probe(choice: Choice = "auto", *, anew: bool = False) -> Acceleration:
    """Find the accelerator to use; `anew`: whatever is remembered of KVM.

    `auto` gives way to the environment variable TOOLSMITH_ACCELERATOR, and then takes KVM where a kernel runs with it.
    Raises HostError where `kvm` is asked for and does not work, InputError where the variable has an unknown value.
    """
    if choice == "auto" and (variable := os.environ.get(CHOICE_VARIABLE)):
        if variable not in CHOICES:
            raise InputError(f"{CHOICE_VARIABLE} is {variable!r}", hint=f"Set it to one of: {', '.join(CHOICES)}.")
        choice = variable
    if choice == "tcg":
        return Acceleration(accelerator=Accelerator.TCG, reason="chosen", chosen=True)
    fault = find_kvm_fault(anew=anew)
    if fault is None:
        return Acceleration(accelerator=Accelerator.KVM, reason="a guest ran with it", chosen=choice == "kvm")
    if choice == "kvm":
        raise HostError(f"KVM was asked for, but {fault.what}", hint=fault.fix)
    return Acceleration(accelerator=Accelerator.TCG, reason=fault.what, fault=fault)


def probe_aloud(choice: Choice, reporter: Reporter) -> Acceleration:
    """`probe`, with a word on what takes a while and on what came of it."""
    with reporter.step("Looking for the best accelerator", limit=trial.KERNEL_SECONDS):
        acceleration = probe(choice)
    reporter.note(f"Accelerator: {acceleration.accelerator} ({acceleration.reason})")
    return acceleration


def find_kvm_fault(*, anew: bool = False) -> KvmFault | None:
    """What keeps KVM from running a guest; None where one ran.

    A guest is started where none was since this machine's start; `anew`: in any case. Raises HostError where QEMU is
    not installed.
    """
    if fault := find_device_fault(DEVICE):
        return fault
    question = _question()
    if not anew and (answer := remembered.find(question)):
        return answer.fault
    fault = find_guest_fault(Accelerator.KVM)
    remembered.keep(question, fault)
    return fault


def find_guest_fault(accelerator: Accelerator) -> KvmFault | None:
    """What goes wrong when a kernel is started with `accelerator`, or a guest of 512 bytes where none can be read."""
    if kernel := find_kernel():
        with contextlib.suppress(LookupError):  # it lacks a driver; libguestfs says so, where that matters
            return trial.find_kernel_fault(accelerator.qemu_args, CPUS, kernel)
    return trial.find_sector_fault(accelerator.qemu_args)


def with_other(
    acceleration: Acceleration,
    act: Callable[[Acceleration], T],
    say: Callable[[str], None],
    *,
    proves: Callable[[T], bool] = lambda _: True,
) -> T:
    """What `act` comes to, which starts a guest: once more with TCG where `auto` took KVM and KVM failed the guest.

    That is remembered where the second start came to something that `proves` it: the guest itself might be at fault.
    Raises AcceleratorError where a person asked for KVM.
    """
    try:
        return act(acceleration)
    except AcceleratorError as error:
        if acceleration.chosen:
            raise
        say(f"{error.message}; once more with TCG, which is slower")
        result = act(Acceleration(accelerator=Accelerator.TCG, reason=error.message))
        if proves(result):
            remembered.keep(_question(), KvmFault(what=error.message, fix=NO_GUESTS))
        return result


def _question() -> str:
    return remembered.question(Accelerator.KVM.qemu_args, CPUS, find_kernel())
