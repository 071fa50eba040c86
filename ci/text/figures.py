"""Sizes and times in words, and how they changed."""

# What would be shown as 0.0.
NOTHING = 0.05


def change(old: float, new: float, unit: str) -> str:
    """How much more or less `new` is, absolutely and in relation to `old`."""
    difference = new - old
    if abs(difference) < NOTHING:
        return "unchanged"
    relative = f", {difference / old * 100:+,.1f} %" if old else ""
    return f"{difference:+,.1f} {unit}{relative}"


def megabytes(size: int) -> str:
    """The size of a file, as shops and GitHub have it."""
    return f"{size / 1e6:,.1f} MB"


def mebibytes(kib: int) -> str:
    """What packages take, from dpkg's KiB."""
    return f"{kib / 1024:,.1f} MiB"


def seconds(time: float) -> str:
    """A time."""
    return f"{time:.1f} s"
