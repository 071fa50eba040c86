"""What is in a finished image, told by its own bytes: distribution, packages, licenses, Python distributions."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import BuildError
from ci.image.inventory import Inventory, parse_status, require_file_lists
from ci.image.layout import parse_os_release
from ci.image.licenses import License, read_copyright
from ci.image.python_packages import INTERPRETER, LIBRARIES, SITES, Distribution, metadata_candidates, parse_metadata
from ci.image.root_files import RootFiles, open_root

STATUS = "/var/lib/dpkg/status"
DPKG_INFO = "/var/lib/dpkg/info"
OS_RELEASE = "/etc/os-release"

# Several times what a Debian with everything in it has.
STATUS_BYTES = 64 << 20
TEXT_BYTES = 8 << 20  # a list of files, a copyright file, metadata
TOTAL_BYTES = 256 << 20

_WORD = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class OsRelease:
    """The distribution, as /etc/os-release(5) names it, such as debian and 12."""

    id: str
    version_id: str
    pretty_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """`licenses` are by package, `owners` by the path of a Python distribution's metadata: the package it came with."""

    os: OsRelease
    inventory: Inventory
    licenses: Mapping[str, tuple[License, ...]]
    distributions: tuple[Distribution, ...]
    owners: Mapping[str, str]


def read_contents(image: Path, work: Path) -> Contents:
    """Look into the QCOW2 `image`, by way of a raw copy in `work`; raises BuildError where it makes no sense."""
    with open_root(image, work) as files:
        single = files.read([STATUS, OS_RELEASE], limit=STATUS_BYTES, total=TOTAL_BYTES)
        inventory = parse_status(single.get(STATUS, b""))
        lists = _file_lists(files, inventory)
        distributions = _distributions(files)
        return Contents(
            os=read_os_release(single.get(OS_RELEASE, b"")),
            inventory=inventory,
            licenses=_licenses(files, inventory),
            distributions=distributions,
            owners=find_owners(distributions, lists),
        )


def read_os_release(content: bytes) -> OsRelease:
    """Raises BuildError where the names are not those of a distribution."""
    values = parse_os_release(content.decode(errors="replace"))
    name, version = values.get("ID", ""), values.get("VERSION_ID", "")
    if not _WORD.fullmatch(name) or not _WORD.fullmatch(version):
        raise BuildError(
            f"{OS_RELEASE} in the finished image does not name a distribution: ID={name[:80]!r}, "
            f"VERSION_ID={version[:80]!r}",
            hint="A package or a script changed it during the build; see the log.",
        )
    return OsRelease(id=name, version_id=version, pretty_name=values.get("PRETTY_NAME") or f"{name} {version}")


def find_owners(distributions: Iterable[Distribution], lists: Mapping[str, bytes]) -> dict[str, str]:
    """Which package installed each distribution; `lists` are the packages' lists of files."""
    wanted = {item.path.encode(): item.path for item in distributions}
    return {
        wanted[line]: package
        for package, content in sorted(lists.items(), reverse=True)  # the first by name, where there are two
        for line in wanted.keys() & set(content.split(b"\n"))
    }


def _file_lists(files: RootFiles, inventory: Inventory) -> dict[str, bytes]:
    names = files.names([DPKG_INFO]).get(DPKG_INFO, ())
    require_file_lists(inventory, names)
    installed = {package.name for package in inventory.packages}
    paths = {
        f"{DPKG_INFO}/{name}": package
        for name in names
        if name.endswith(".list") and (package := name.removesuffix(".list").partition(":")[0]) in installed
    }
    contents = files.read(paths, limit=TEXT_BYTES, total=TOTAL_BYTES)
    lists: dict[str, bytes] = {}
    for path, content in contents.items():  # a package may be there for two architectures
        lists[paths[path]] = lists.get(paths[path], b"") + content
    return lists


def _licenses(files: RootFiles, inventory: Inventory) -> dict[str, tuple[License, ...]]:
    paths = {f"/usr/share/doc/{package.name}/copyright": package.name for package in inventory.packages}
    contents = files.read(paths, limit=TEXT_BYTES, total=TOTAL_BYTES)
    # Packages of one source share the text.
    parsed = {content: read_copyright(content) for content in set(contents.values())}
    return {paths[path]: parsed[content] for path, content in contents.items()}


def _distributions(files: RootFiles) -> tuple[Distribution, ...]:
    libraries = files.names(LIBRARIES)
    sites = [
        f"{library}/{name}/{site}"
        for library, names in libraries.items()
        for name in names
        if INTERPRETER.fullmatch(name)
        for site in SITES
    ]
    candidates = [path for site, names in files.names(sites).items() for path in metadata_candidates(site, names)]
    contents = files.read(candidates, limit=TEXT_BYTES, total=TOTAL_BYTES)
    found = (parse_metadata(content, path) for path, content in contents.items())
    return tuple(
        sorted((item for item in found if item), key=lambda item: (item.name.lower(), item.version, item.path))
    )
