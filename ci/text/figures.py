"""Sizes and times in words, and how they changed."""

# What would be shown as 0.0.
NOTHING = 0.05
MINUS = "\u2212"


def change(old: float, new: float, unit: str) -> str:
    """How much more or less `new` is, absolutely and in relation to `old`."""
    difference = new - old
    if abs(difference) < NOTHING:
        return "unchanged"
    relative = f", {difference / old * 100:+,.1f} %" if old else ""
    return f"{difference:+,.1f} {unit}{relative}"


def megabytes(size: int) -> str:
    """The size of a file in the one unit in which sizes of images are compared."""
    return f"{size / 1e6:,.1f} MB"


def size(count: int) -> str:
    """Bytes in the unit that download pages use."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return f"{value:,.1f} {unit}"


def size_change(difference: int) -> str:
    """How many bytes more or fewer, where there is little room."""
    return "unchanged" if difference == 0 else f"{'+' if difference > 0 else MINUS}{size(abs(difference))}"


def mebibytes(kib: int) -> str:
    """What packages take, from dpkg's KiB."""
    return f"{kib / 1024:,.1f} MiB"


def seconds(time: float | None) -> str:
    """A time, or a dash for a point that was not reached."""
    return "-" if time is None else f"{time:.1f} s"


def plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
