"""The package list, `<stem>.packages.tsv`: what is installed in an image. And what differs between two of them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from debian.debian_support import Version

from ci.host.errors import InputError
from ci.records.record import Part

HEADER = "package\tversion\tarchitecture\tinstalled_kib"

# dpkg is this liberal about names: https://git.dpkg.org/cgit/dpkg/dpkg.git/tree/lib/dpkg/parsehelp.c
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*", re.ASCII)
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
_SIZE = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)


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


def to_tsv(packages: Iterable[Package]) -> str:
    """Tab-separated values with a header line."""
    rows = [f"{item.name}\t{item.version}\t{item.architecture}\t{item.installed_kib}" for item in packages]
    return "\n".join([HEADER, *rows]) + "\n"


def read_packages(text: str, where: str) -> tuple[Package, ...]:
    """The packages that `to_tsv` wrote, in their order; raises InputError where a line is none, or comes twice.

    `where` names the text in the error.
    """
    header, *rows = text.split("\n")
    if header != HEADER:
        raise _malformed(where, 1, f"the first line is not {HEADER!r}")
    if not rows or rows[-1]:
        raise _malformed(where, len(rows) + 1, "the last line has no end: the file may have been cut off")
    packages: dict[tuple[str, str], Package] = {}
    for number, row in enumerate(rows[:-1], start=2):
        package = _read_row(row, where, number)
        if packages.setdefault((package.name, package.architecture), package) is not package:
            raise _malformed(where, number, f"{package.name} for {package.architecture} was listed before")
    return tuple(packages.values())


def _read_row(row: str, where: str, number: int) -> Package:
    fields = row.split("\t")
    if len(fields) != 4:
        raise _malformed(where, number, f"there are {len(fields)} fields, not 4")
    name, version, architecture, size = fields
    for what, field, pattern in (("package", name, _NAME), ("architecture", architecture, _ARCHITECTURE)):
        if not pattern.fullmatch(field):
            raise _malformed(where, number, f"{field!r} is not the name of a {what}")
    if not _SIZE.fullmatch(size):
        raise _malformed(where, number, f"{size!r} is not a size in KiB")
    try:
        Version(version)
    except ValueError:
        raise _malformed(where, number, f"{version!r} is not a version") from None
    return Package(name=name, version=version, architecture=architecture, installed_kib=int(size))


def _malformed(where: str, line: int, problem: str) -> InputError:
    return InputError(
        f"{where} is not a list of packages: line {line}: {problem}",
        hint="The build writes this file and nobody edits it; fetch or build it again.",
    )
