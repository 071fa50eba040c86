"""What the last trial of KVM came to, so that it costs once.

An answer holds for one start of this machine, one QEMU, one kernel and one trial: all of them are in the question. What
is not exactly an answer to the question is none.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

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


class Answer(BaseModel, frozen=True, strict=True, extra="forbid"):
    """What keeps KVM from working, None where nothing does, by the trial that `question` is about."""

    question: str
    fault: KvmFault | None


def question(qemu_args: Sequence[str], cpus: int, kernel: HostKernel | None) -> str:
    """A digest of everything that the answer depends on."""
    files = [Path(require_tool(QEMU)), *_CODE, *([kernel.image] if kernel else [])]
    facts = [BOOT_ID.read_text(encoding="ascii"), *qemu_args, str(cpus), *(sha256_file(file) for file in files)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def find(question: str) -> Answer | None:
    """The last answer where it is one to `question`; None where there is none to be believed."""
    try:
        answer = Answer.model_validate_json(read_bounded(_file(), MAX_BYTES))
    except (InputError, ValidationError):
        return None
    return answer if answer.question == question else None


def keep(question: str, fault: KvmFault | None) -> None:
    """Remember an answer. Where nothing can be written it is asked again, and that is all."""
    with contextlib.suppress(OSError):
        write_atomic(_file(), Answer(question=question, fault=fault).model_dump_json(indent=2) + "\n")


def _file() -> Path:
    return cache_folder() / "kvm.json"
