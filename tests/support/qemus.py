"""The QEMUs that run on this machine."""

import os
from pathlib import Path

from ci.host.qemu import escape


def qemus_with(image: Path) -> list[int]:
    """The processes that have this image on their command line as QEMU writes it."""
    escaped = os.fsencode(escape(image))
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"file=" + escaped in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found
