"""What can be asked about this machine; a test gives its own answers."""

import os
import re
import shutil
from pathlib import Path

from ci.host.errors import ToolError
from ci.host.process import find_tool, run


def tool_version(name: str, argument: str) -> str | None:
    """What the program prints when asked for its version, '' without such an argument; None where it is missing."""
    if not find_tool(name):
        return None
    if not argument:
        return ""
    try:
        completed = run([name, argument], timeout=30)
    except ToolError as error:
        return error.message
    return completed.stdout + completed.stderr


def file_system(folder: Path) -> int:
    """A number that two folders share if they share their free space."""
    return _nearest_folder(folder).stat().st_dev


def free_bytes(folder: Path) -> int:
    """What is free where a folder is, or will be."""
    return shutil.disk_usage(_nearest_folder(folder)).free


def available_memory() -> int:
    """Bytes that can be used without swapping."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():  # macOS does not tell what is free
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise RuntimeError("/proc/meminfo has no MemAvailable")
    return int(found[1]) << 10


def _nearest_folder(folder: Path) -> Path:
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())
