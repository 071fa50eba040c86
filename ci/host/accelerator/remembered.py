"""What the last trial of KVM came to, so that it costs once.

An answer holds for one start of this machine, one QEMU, one kernel and one trial: all of them are in the question. What
is not exactly an answer to the question is none.
"""

import contextlib
import hashlib
import json
import pkgutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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

_CODE = (initramfs, trial)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What keeps KVM from working, None where nothing does, by the trial that `question` is about."""

    question: str
    fault: KvmFault | None


def question(qemu_args: Sequence[str], cpus: int, kernel: HostKernel | None) -> str:
    """A digest of everything that the answer depends on."""
    code = [hashlib.sha256(_source(module.__name__)).hexdigest() for module in _CODE]
    digests = [sha256_file(Path(require_tool(QEMU))), *code, *([sha256_file(kernel.image)] if kernel else [])]
    facts = [BOOT_ID.read_text(encoding="ascii"), *qemu_args, str(cpus), *digests]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def find(question: str) -> Answer | None:
    """The last answer where it is one to `question`; None where there is none to be believed."""
    try:
        answer = _read(read_bounded(_file(), MAX_BYTES))
    except (InputError, ValueError, RecursionError):
        return None
    return answer if answer.question == question else None


def keep(question: str, fault: KvmFault | None) -> None:
    """Remember an answer. Where nothing can be written it is asked again, and that is all."""
    with contextlib.suppress(OSError):
        write_atomic(_file(), json.dumps(asdict(Answer(question=question, fault=fault)), indent=2) + "\n")


def _read(data: bytes) -> Answer:
    """Raises ValueError where it is not exactly what `keep` writes."""
    match json.loads(data):
        case {"question": str(question), "fault": None, **others} if not others:
            return Answer(question=question, fault=None)
        case {"question": str(question), "fault": {"what": str(what), "fix": str(fix), **more}, **others} if not (
            more or others
        ):
            return Answer(question=question, fault=KvmFault(what=what, fix=fix))
        case _:
            raise ValueError("it is no answer")


def _source(module: str) -> bytes:
    """The text of a module, which may be in a zip archive."""
    package, _, name = module.rpartition(".")
    return pkgutil.get_data(package, f"{name}.py") or b""


def _file() -> Path:
    return cache_folder() / "kvm.json"
