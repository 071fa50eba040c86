"""The programs that run on this machine, QEMUs above all."""

import contextlib
import os
from pathlib import Path

from ci.host.qemu import escape


def running_with(words: str) -> dict[int, list[str]]:
    """The command lines with `words` in them, by the numbers of their processes."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            if os.fsencode(words) in line.replace(b"\0", b" "):
                found[int(entry.name)] = [os.fsdecode(word) for word in line.split(b"\0")]
    return found


def qemus_with(image: Path) -> list[int]:
    """The processes that have this image on their command line as QEMU writes it."""
    return list(running_with(f"file={escape(image)}"))
