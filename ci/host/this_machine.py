"""What can be asked about this machine, behind a protocol, so that judging the answers needs no machine."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ci.host.accelerator import find_kvm_fault
from ci.host.errors import ToolError
from ci.host.kvm import kernel
from ci.host.kvm.device import Fault
from ci.host.process import find_tool, run


class Machine(Protocol):
    """The questions."""

    @property
    def environment(self) -> Mapping[str, str]: ...

    def find_tool(self, name: str) -> str | None: ...

    def tool_version(self, name: str, argument: str) -> str | None:
        """What the program prints when asked for its version; None where it is not installed."""

    def kernels(self) -> Sequence[Path]:
        """The kernels in /boot."""

    def has_modules(self, kernel_image: Path) -> bool: ...

    def can_read(self, path: Path) -> bool: ...

    def distribution(self) -> str:
        """The ID in /etc/os-release; '' where there is none."""

    def kvm_fault(self) -> Fault | None:
        """What keeps KVM from running a guest, tried now."""

    def file_system(self, folder: Path) -> int:
        """A number that two folders share if they share their free space."""

    def free_bytes(self, folder: Path) -> int: ...

    def available_memory(self) -> int:
        """Bytes that can be used without swapping."""


class ThisMachine:
    """The answers of the machine we run on."""

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ

    def find_tool(self, name: str) -> str | None:
        return find_tool(name)

    def tool_version(self, name: str, argument: str) -> str | None:
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
        return kernel.kernels()

    def has_modules(self, kernel_image: Path) -> bool:
        return kernel.modules_of(kernel_image).is_dir()

    def can_read(self, path: Path) -> bool:
        return kernel.can_read(path)

    def distribution(self) -> str:
        try:
            lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
        except OSError:
            return ""
        return next((line.removeprefix("ID=").strip("\"'") for line in lines if line.startswith("ID=")), "")

    def kvm_fault(self) -> Fault | None:
        return find_kvm_fault(anew=True)

    def file_system(self, folder: Path) -> int:
        return nearest_folder(folder).stat().st_dev

    def free_bytes(self, folder: Path) -> int:
        return shutil.disk_usage(nearest_folder(folder)).free

    def available_memory(self) -> int:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) << 10
        raise RuntimeError("/proc/meminfo has no MemAvailable")


def nearest_folder(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())
