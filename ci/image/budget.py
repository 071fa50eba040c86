"""The size budget of a definition: an image that outgrew it is not published, and the error tells what grew."""

from collections.abc import Callable, Sequence

from ci.host.errors import BuildError
from ci.image.earlier import Earlier
from ci.records.packages import Package, growth
from ci.text.figures import mebibytes

MIB = 1 << 20
ROWS = 15
NAMED = 3


def require_within(
    budget_mib: int | None, size: int, packages: Sequence[Package], find_earlier: Callable[[], Earlier | None]
) -> None:
    """Raise BuildError where an image of `size` bytes is larger than its budget, naming what takes the room.

    Only then is it asked for an earlier image to compare with.
    """
    if budget_mib is None or size <= budget_mib * MIB:
        return
    ordered = sorted(packages, key=lambda package: (-package.installed_kib, package.name))
    largest = [f"{mebibytes(one.installed_kib):>12}  {one.name} {one.version}" for one in ordered[:ROWS]]
    details, reason = ["Largest packages:", *largest], ""
    if earlier := find_earlier():
        grown = [one for one in growth(earlier.packages, packages) if one.kib > 0]
        rows = [
            f"{'+' + mebibytes(one.kib):>12}  {one.package} ({mebibytes(one.old_kib)} before)" for one in grown[:ROWS]
        ]
        details += [f"Grown most since {earlier.name}:", *(rows or ["     nothing"])]
        named = ", ".join(f"{one.package} (+{mebibytes(one.kib)})" for one in grown[:NAMED]) or "no package"
        reason = f"; since {earlier.name} grew {named}"
    else:
        details.append("There is no package list of an earlier image to compare with.")
    raise BuildError(
        f"the image has {size / MIB:,.1f} MiB, its budget is {budget_mib} MiB{reason}",
        hint="Purge what is not needed, or raise `disk.max_image_mib`: docs/definitions.md. Nothing was published; the "
        "sizes above are of installed packages, the image is compressed.",
        details="\n".join(details),
    )
