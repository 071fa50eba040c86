"""The lock file's entries for the libraries of the consumer's tool: for where pip installs them, and nothing else.

Needs no library itself. Runs on Python 3.10 too.
"""

import sys
from collections.abc import Collection
from pathlib import Path

from ci.consume.bundle import LIBRARIES

LOCK = Path(__file__).resolve().parents[2] / "requirements.lock"


def selected(lock: str, libraries: Collection[str]) -> str:
    """The entries of `libraries`, hashes and all; raises ValueError where one is missing."""
    entries: dict[str, list[str]] = {}
    name = ""
    for line in lock.splitlines():
        if line[:1].isalnum():
            name = line.partition("==")[0]
        if name in libraries and not line.lstrip().startswith("#"):
            entries.setdefault(name, []).append(line)
    if missing := set(libraries) - entries.keys():
        raise ValueError(f"the lock file lacks {', '.join(sorted(missing))}")
    # The comments behind the last hash are gone, and with them what its backslash continues to.
    return "".join("\n".join(lines).rstrip("\\ \n") + "\n" for lines in entries.values())


if __name__ == "__main__":
    sys.stdout.write(selected(LOCK.read_text(encoding="utf-8"), LIBRARIES))
