"""What can be asked about this machine."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.host.accelerator import find_kvm_fault, kernel
from ci.host.accelerator.kvm_device import KvmFault
from ci.host.errors import ToolError
from ci.host.process import find_tool, run


class ThisMachine:
    """The machine we run on. What judges it needs none of its own: a test overrides each answer."""

    environment: Mapping[str, str] = os.environ

    def find_tool(self, name: str) -> str | None:
        return find_tool(name)

    def tool_version(self, name: str, argument: str) -> str | None:
        """What the program prints when asked for its version; None where it is not installed."""
        if not find_tool(name):
            return None
        if not argument:
            return ""
        try:
            completed = run([name, argument], timeout=30)
        except ToolError as error:
            return error.message
        return completed.stdout + completed.stderr

    def kernels(self) -> Sequence[Path]:
        """The kernels in /boot."""
        return kernel.kernels()

    def has_modules(self, kernel_image: Path) -> bool:
        return kernel.modules_of(kernel_image).is_dir()

    def can_read(self, path: Path) -> bool:
        return kernel.can_read(path)

    def kvm_fault(self) -> KvmFault | None:
        """What keeps KVM from running a guest, tried now."""
        return find_kvm_fault(anew=True)

    def file_system(self, folder: Path) -> int:
        """A number that two folders share if they share their free space."""
        return nearest_folder(folder).stat().st_dev

    def free_bytes(self, folder: Path) -> int:
        return shutil.disk_usage(nearest_folder(folder)).free

    def available_memory(self) -> int:
        """Bytes that can be used without swapping."""
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
        if found is None:
            raise RuntimeError("/proc/meminfo has no MemAvailable")
        return int(found[1]) << 10


def nearest_folder(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())
