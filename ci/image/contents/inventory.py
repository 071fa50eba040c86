"""The packages that dpkg's own database, read from the image's bytes, says are installed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from debian.deb822 import Deb822

from ci.host.errors import BuildError
from ci.records.packages import Package, parse_package

STATUS_FIELDS = ["Package", "Status", "Version", "Architecture", "Installed-Size", "Source", "Maintainer"]

_SOURCE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9+._-]*)(?: \((?P<version>[A-Za-z0-9][A-Za-z0-9.+:~-]*)\))?", re.ASCII
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackage:
    """A package with the source package it was built from, and who maintains it ('' where it does not say)."""

    package: Package
    source: str
    source_version: str
    maintainer: str


def parse_status(content: bytes, names: Iterable[str]) -> tuple[InstalledPackage, ...]:
    """What /var/lib/dpkg/status says is installed, sorted by name; `names` is what is in /var/lib/dpkg/info.

    Raises BuildError where dpkg would not have written it so.
    """
    try:
        stanzas = paragraphs(content, STATUS_FIELDS)
    except ValueError as error:
        raise malformed(str(error)) from None
    found: dict[tuple[str, str], InstalledPackage] = {}
    for paragraph in stanzas:
        if paragraph.get("Status", "").split(" ")[-1] != "installed":
            continue
        installed = _parse_paragraph(paragraph)
        key = installed.package.name, installed.package.architecture
        if key in found:
            raise malformed(f"{key[0]} for {key[1]} is there twice")
        found[key] = installed
    if not found:
        raise malformed("nothing is installed")
    # Every package has its list of files, and nothing else has, but removed ones whose settings remain.
    lists = {name.removesuffix(".list") for name in names if name.endswith(".list")}
    for name, architecture in found:
        if not {name, f"{name}:{architecture}"} & lists:
            raise malformed(f"{name} is installed, but no list of its files is there")
    known = {stanza.get("Package", "") for stanza in stanzas}
    if unknown := sorted(name for name in lists if name.partition(":")[0] not in known):
        raise malformed(f"there is a list of the files of {unknown[0]}, which dpkg does not know")
    return tuple(found[key] for key in sorted(found))


def paragraphs(content: bytes, fields: list[str]) -> list[Deb822]:
    r"""The paragraphs of a control file, with no other fields than these; raises ValueError where it is none.

    Lines end at \n alone, as for dpkg: splitlines() would let a field's own characters end one. And python-debian never
    gets one text: it takes a text of a single line for a file's name, and reads that file.
    """
    lines = content.decode(errors="replace").split("\n")
    return list(Deb822.iter_paragraphs(lines, fields=fields, use_apt_pkg=False))


def malformed(problem: str) -> BuildError:
    """The database in the image is not what dpkg would have written."""
    return BuildError(
        f"the packages in the finished image cannot be told: {problem}",
        hint="Something damaged dpkg's database during the build, or wrote to it behind dpkg's back; see the log.",
    )


def _parse_paragraph(paragraph: Deb822) -> InstalledPackage:
    name, version = paragraph.get("Package", ""), paragraph.get("Version", "")
    architecture, size = paragraph.get("Architecture", ""), paragraph.get("Installed-Size") or "0"
    source = _SOURCE.fullmatch(paragraph.get("Source", name))
    try:
        package = parse_package(name, version, architecture, size)
    except ValueError as error:
        raise malformed(str(error)) from None
    if source is None:
        raise malformed(f"{name} does not say what its source is")
    return InstalledPackage(
        package=package,
        source=source["name"],
        source_version=source["version"] or version,
        maintainer=paragraph.get("Maintainer", ""),
    )
