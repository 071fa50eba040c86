"""What the last trial of KVM came to, so that it costs once.

An answer holds for one start of this machine, one QEMU, one kernel and one trial: all of them are in the question. What
is not exactly an answer to the question is none.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ci.host.accelerator import initramfs, trial
from ci.host.accelerator.kernel import HostKernel
from ci.host.accelerator.kvm_device import KvmFault
from ci.host.errors import InputError
from ci.host.files import read_bounded, sha256_file, write_atomic
from ci.host.process import require_tool
from ci.host.qemu import QEMU
from ci.host.workspace import cache_folder

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)
MAX_BYTES = 1 << 16

_CODE = (Path(initramfs.__file__), Path(trial.__file__))


def question(qemu_args: Sequence[str], cpus: int, kernel: HostKernel | None) -> str:
    """A digest of everything that the answer depends on."""
    files = [Path(require_tool(QEMU)), *_CODE, *([kernel.image] if kernel else [])]
    facts = [BOOT_ID.read_text(encoding="ascii"), *qemu_args, str(cpus), *(sha256_file(file) for file in files)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def find(question: str) -> tuple[KvmFault | None] | None:
    """The last answer where it is one to `question`, in a tuple; None where there is none to be believed."""
    try:
        found = json.loads(read_bounded(_file(), MAX_BYTES))
    except (InputError, ValueError, RecursionError):
        return None
    match found:
        case {"question": str(asked), "fault": None, **rest} if asked == question and not rest:
            return (None,)
        case {"question": str(asked), "fault": {"what": str(what), "fix": str(fix), **more}, **rest} if (
            asked == question and not rest and not more
        ):
            return (KvmFault(what=what, fix=fix),)
        case _:
            return None


def keep(question: str, fault: KvmFault | None) -> None:
    """Remember an answer. Where nothing can be written it is asked again, and that is all."""
    document = {"question": question, "fault": fault and asdict(fault)}
    with contextlib.suppress(OSError):
        write_atomic(_file(), json.dumps(document, indent=2) + "\n")


def _file() -> Path:
    return cache_folder() / "kvm.json"
