"""The package list, `<stem>.packages.tsv`: what is installed in an image. And what differs between two of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from debian.debian_support import Version

from ci.records.record import Part
from ci.records.tsv import parse_tsv

HEADER = "package\tversion\tarchitecture\tinstalled_kib"

# dpkg is this liberal about names: https://git.dpkg.org/cgit/dpkg/dpkg.git/tree/lib/dpkg/parsehelp.c
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*", re.ASCII)
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+(?:[.-][0-9]+)*", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)
_QUOTED = 80  # characters of a malformed field in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package; `installed_kib` is dpkg's estimate."""

    name: str
    version: str
    architecture: str
    installed_kib: int


class PackageChange(Part):
    """A package that both images have, in versions that Debian orders differently."""

    old: Package
    new: Package


class PackageDiff(Part):
    """The difference between two lists, each part sorted by name; the sizes are those of all installed packages."""

    added: tuple[Package, ...]
    removed: tuple[Package, ...]
    upgraded: tuple[PackageChange, ...]
    downgraded: tuple[PackageChange, ...]
    old_kib: int
    new_kib: int

    @property
    def empty(self) -> bool:
        """True where both images have the same packages in the same versions."""
        return not (self.added or self.removed or self.upgraded or self.downgraded)


class Growth(Part):
    """Packages that replace each other, and what they take before and after; `package` is the largest of them."""

    package: str
    old_kib: int
    new_kib: int

    @property
    def kib(self) -> int:
        """By how much more, or less."""
        return self.new_kib - self.old_kib


def growth(old: Iterable[Package], new: Iterable[Package]) -> tuple[Growth, ...]:
    """The packages that take more or less than before, the largest growth first.

    Packages whose names differ in numbers only are summed up: a kernel, or a library, that replaces another one has not
    grown by all its size.
    """
    before, after = _by_family(old), _by_family(new)
    found = (
        Growth(
            package=max(after.get(family) or before[family], key=lambda package: package.installed_kib).name,
            old_kib=sum(package.installed_kib for package in before.get(family, ())),
            new_kib=sum(package.installed_kib for package in after.get(family, ())),
        )
        for family in before.keys() | after.keys()
    )
    return tuple(sorted((one for one in found if one.kib), key=lambda one: (-one.kib, one.package)))


def _by_family(packages: Iterable[Package]) -> dict[str, list[Package]]:
    families: dict[str, list[Package]] = {}
    for package in packages:
        families.setdefault(_NUMBER.sub("0", package.name), []).append(package)
    return families


def to_tsv(packages: Iterable[Package]) -> str:
    """Tab-separated values with a header line."""
    rows = [f"{item.name}\t{item.version}\t{item.architecture}\t{item.installed_kib}" for item in packages]
    return "\n".join([HEADER, *rows]) + "\n"


def parse_packages(data: bytes, where: str) -> tuple[Package, ...]:
    """The packages that `to_tsv` wrote, in their order; raises InputError, which names the file as `where`."""
    return parse_tsv(data, HEADER, _read_row, what="a list of packages", where=where)


def parse_package(name: str, version: str, architecture: str, size: str) -> Package:
    """A package from text; raises ValueError, which says what is wrong, where dpkg would not have written it."""
    for what, field, pattern in (("package", name, _NAME), ("architecture", architecture, _ARCHITECTURE)):
        if not pattern.fullmatch(field):
            raise ValueError(f"{field[:_QUOTED]!r} is not the name of a {what}")
    if not _SIZE.fullmatch(size):
        raise ValueError(f"{size[:_QUOTED]!r} is not a size in KiB")
    try:
        Version(version)
    except ValueError:
        raise ValueError(f"{version[:_QUOTED]!r} is not a version") from None
    return Package(name=name, version=version, architecture=architecture, installed_kib=int(size))


def _read_row(row: str) -> tuple[str, Package]:
    fields = row.split("\t")
    if len(fields) != 4:
        raise ValueError(f"there are {len(fields)} fields, not 4")
    package = parse_package(*fields)
    return f"{package.name} for {package.architecture}", package
