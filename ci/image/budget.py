"""The size budget of a definition: an image that outgrew it is not published, and the error tells what grew."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import BuildError, InputError
from ci.records.packages import Growth, Package, growth, parse_packages
from ci.records.version import Version

MIB = 1 << 20
ROWS = 15
NAMED = 3
PACKAGES = ".packages.tsv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The packages of an earlier image, and the file that lists them."""

    name: str
    packages: tuple[Package, ...]


def find_earlier(folder: Path, distribution: str) -> Earlier | None:
    """The newest image of this distribution in `folder`, of the same version too; None where its list is not there."""
    prefix = f"fountainkit-toolsmith-{distribution}-"
    found = []
    for path in folder.glob(f"{prefix}v*{PACKAGES}"):
        try:
            version = Version.parse(path.name.removeprefix(prefix).removesuffix(PACKAGES))
            found.append((version, Earlier(name=path.name, packages=parse_packages(path.read_bytes(), path.name))))
        except (InputError, OSError):
            continue  # it only helps to explain
    return max(found, key=lambda pair: pair[0])[1] if found else None


def require_within(budget_mib: int | None, size: int, packages: Sequence[Package], earlier: Earlier | None) -> None:
    """Raise BuildError where an image of `size` bytes is larger than its budget, naming what takes the room."""
    if budget_mib is None or size <= budget_mib * MIB:
        return
    grown = [one for one in growth(earlier.packages, packages) if one.kib > 0] if earlier else []
    reason = ""
    if earlier:
        named = ", ".join(f"{one.package} (+{_mib(one.kib)})" for one in grown[:NAMED]) or "no package"
        reason = f"; since {earlier.name} grew {named}"
    raise BuildError(
        f"the image has {size / MIB:,.1f} MiB, its budget is {budget_mib} MiB{reason}",
        hint="Purge what is not needed, or raise `disk.max_image_mib`: docs/definitions.md. Nothing was published; the "
        "sizes above are of installed packages, the image is compressed.",
        details="\n".join([*_largest(packages), *_growers(grown, earlier)]),
    )


def _largest(packages: Sequence[Package]) -> list[str]:
    ordered = sorted(packages, key=lambda package: (-package.installed_kib, package.name))
    return [
        "Largest packages:",
        *(f"{_mib(one.installed_kib):>12}  {one.name} {one.version}" for one in ordered[:ROWS]),
    ]


def _growers(grown: Sequence[Growth], earlier: Earlier | None) -> list[str]:
    if earlier is None:
        return ["There is no package list of an earlier image to compare with."]
    rows = [f"{'+' + _mib(one.kib):>12}  {one.package} ({_mib(one.old_kib)} before)" for one in grown[:ROWS]]
    return [f"Grown most since {earlier.name}:", *(rows or ["     nothing"])]


def _mib(kib: int) -> str:
    return f"{kib / 1024:,.1f} MiB"
