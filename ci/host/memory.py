"""How much memory this process has needed."""

import re
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """The most memory this process ever held, in bytes; 0 where the system does not tell.

    Not getrusage(2)'s figure, which counts what the parent held before exec.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
