"""What everything that starts QEMU has to know of it."""

import os

QEMU = "qemu-system-x86_64"


def escape(value: str | os.PathLike[str]) -> str:
    """A value inside one of QEMU's comma-separated options: a comma is written twice."""
    return os.fspath(value).replace(",", ",,")
