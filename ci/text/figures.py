"""Sizes and times in words, and how they changed. All that is ours, and so it is Markdown too."""

from collections.abc import Mapping
from typing import Any

from ci.text.markdown import Markdown

# What would be shown as 0.0.
NOTHING = 0.05
MINUS = "\u2212"


def change(old: float, new: float, unit: str) -> Markdown:
    """How much more or less `new` is, absolutely and in relation to `old`."""
    difference = new - old
    if abs(difference) < NOTHING:
        return Markdown("unchanged")
    relative = f", {difference / old * 100:+,.1f} %" if old else ""
    return Markdown(f"{difference:+,.1f} {unit}{relative}")


def megabytes(size: int) -> Markdown:
    """The size of a file in the one unit in which sizes of images are compared."""
    return Markdown(f"{size / 1e6:,.1f} MB")


def size(count: int) -> Markdown:
    """Bytes in the unit that download pages use."""
    if count < 1000:
        return Markdown(f"{count} B")
    value, unit = count / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return Markdown(f"{value:,.1f} {unit}")


def size_change(difference: int) -> Markdown:
    """How many bytes more or fewer, where there is little room."""
    return Markdown("unchanged" if difference == 0 else f"{'+' if difference > 0 else MINUS}{size(abs(difference))}")


def mebibytes(kib: int) -> Markdown:
    """What packages take, from dpkg's KiB."""
    return Markdown(f"{kib / 1024:,.1f} MiB")


def seconds(time: float | None) -> Markdown:
    """A time, or a dash for a point that was not reached."""
    return Markdown("-" if time is None else f"{time:.1f} s")


def plural(count: int, what: str) -> Markdown:
    return Markdown(f"{count:,} {what}{'' if count == 1 else 's'}")


def counted(numbers: Mapping[Any, int]) -> Markdown:
    """How many there are of what, by words of ours; nothing where there are none."""
    return Markdown(", ".join(f"{number} {what}" for what, number in numbers.items() if number))
