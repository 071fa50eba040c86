"""Why a guest is waited for no longer, and whose fault it is: the guest's, this machine's, or KVM's."""

import re
import signal
from typing import Final

from ci.host.accelerator import Accelerator
from ci.host.errors import AcceleratorError, BootError, HostError, ToolsmithError

TAIL_LINES: Final = 20
MAX_LINE: Final = 300

PORT_IN_USE: Final = re.compile(r"Could not set up host forwarding rule '[^']*?:(\d+)-")
NO_MEMORY: Final = re.compile(r"[Cc]annot set up guest memory|Cannot allocate memory")
# QEMU's own words and KVM's, not a guest's.
KVM_FAILED: Final = re.compile(
    r"failed to initialize kvm|Could not access KVM|KVM internal error|KVM: entry failed|\bkvm_\w+: Assertion",
    re.IGNORECASE,
)
# By what QEMU ends itself. A shell that ran it adds 128.
CRASHES: Final = frozenset(
    code
    for number in (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP)
    for code in (-number, 128 + number)
)

EXIT_MEANINGS: Final = {
    "guest-shutdown": "the guest powered itself off",
    "guest-reset": "the guest reset itself, as it does after a crash",
    "guest-panic": "the guest panicked",
}


def explain_exit(code: int, reason: str, output: str, tail: str, accelerator: Accelerator) -> ToolsmithError:
    """What it means that QEMU ended while something was still expected of the guest.

    `reason` is from its SHUTDOWN event, if there was one.
    """
    if found := PORT_IN_USE.search(output):
        hint = f"`ss -ltnp 'sport = :{found[1]}'` shows by whom; or choose another port, or none to get a free one."
        return HostError(f"port {found[1]} is already in use", hint=hint, details=tail)
    if code != 0 and NO_MEMORY.search(output):
        hint = "Close other programs, add swap, or give the guest less."
        return HostError("the host has too little memory for QEMU", hint=hint, details=tail)
    if code != 0:
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if accelerator is Accelerator.KVM and (code in CRASHES or KVM_FAILED.search(output)):
            return AcceleratorError(f"QEMU {ended}, with KVM", details=tail)
        return BootError(f"QEMU {ended}", hint="Its last lines say why.", details=tail)
    happened = EXIT_MEANINGS.get(reason, "the guest powered off, or reset itself after a crash")
    hint = "The console's last lines show what the guest did before."
    return BootError(f"QEMU ended by itself: {happened}", hint=hint, details=tail)


def explain_silence(what: str, seconds: float, *, silent: bool, tail: str, accelerator: Accelerator) -> ToolsmithError:
    """What it means that `what` did not come within `seconds`, or that there was no sign of life for so long."""
    message = f"{what}: no sign of life for {seconds:.0f} s" if silent else f"{what}: not within {seconds:.0f} s"
    if silent and accelerator is Accelerator.KVM:
        return AcceleratorError(f"{message}, with KVM", details=tail)
    return BootError(
        message,
        hint="The guest hangs, or is slower than expected; the console's last lines show how far it came.",
        details=tail,
    )


def last_lines(text: str, lines: int = TAIL_LINES) -> str:
    """The last lines that are not blank, cut to a readable length."""
    kept = [line.rstrip() for line in text[-lines * MAX_LINE * 2 :].split("\n") if line.strip()]
    return "\n".join(line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} …" for line in kept[-lines:])
