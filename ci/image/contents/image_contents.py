"""What is in a finished image, told by its own bytes: distribution, packages, licenses, Python distributions."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ci.host import qcow2
from ci.host.errors import BuildError
from ci.image.contents.inventory import InstalledPackage, parse_status
from ci.image.contents.licenses import License, read_copyright
from ci.image.contents.python_packages import LIBRARIES, Distribution, metadata_paths, parse_metadata, sites
from ci.image.disk import layout
from ci.image.disk.root_files import RootFiles, unreadable

STATUS = "/var/lib/dpkg/status"
DPKG_INFO = "/var/lib/dpkg/info"

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
class ImageContents:
    """`licenses` are by package, `owners` by the path of a Python distribution's metadata: the package it came with."""

    os: OsRelease
    installed: tuple[InstalledPackage, ...]
    licenses: Mapping[str, tuple[License, ...]]
    distributions: tuple[Distribution, ...]
    owners: Mapping[str, str]


def read_contents(image: Path, work: Path) -> ImageContents:
    """Look into the QCOW2 `image`, by way of a raw copy in `work`; raises BuildError where it makes no sense."""
    with TemporaryDirectory(dir=work) as folder:
        files, os_release = _open_root(image, Path(folder))
        status = files.read([STATUS], limit=STATUS_BYTES, total=STATUS_BYTES).get(STATUS, b"")
        folders = files.names([DPKG_INFO, *LIBRARIES])
        names = folders.pop(DPKG_INFO, ())
        installed = parse_status(status, names)
        # Paths, each with the package that it speaks of.
        copyrights = {f"/usr/share/doc/{item.package.name}/copyright": item.package.name for item in installed}
        packages = set(copyrights.values())
        lists = {
            f"{DPKG_INFO}/{name}": package
            for name in names
            if name.endswith(".list") and (package := name.removesuffix(".list").partition(":")[0]) in packages
        }
        metadata = metadata_paths(files.names(sites(folders)))
        texts = files.read([*lists, *copyrights, *metadata], limit=TEXT_BYTES, total=TOTAL_BYTES)
    parsed = (parse_metadata(texts[path], path) for path in metadata if path in texts)
    distributions = sorted(filter(None, parsed), key=lambda item: (item.name.lower(), item.version, item.path))
    return ImageContents(
        os=read_os_release(os_release),
        installed=installed,
        licenses=find_licenses(installed, {name: texts[path] for path, name in copyrights.items() if path in texts}),
        distributions=tuple(distributions),
        owners=find_owners(distributions, ((package, texts[path]) for path, package in lists.items() if path in texts)),
    )


def _open_root(image: Path, folder: Path) -> tuple[RootFiles, str]:
    """The root file system of a QCOW2 image, and its /etc/os-release. `folder` has space for all of it."""
    disk = folder / "disk.raw"
    qcow2.convert_to_raw(image, disk)
    table = layout.read_table(disk)
    for partition, os_release in layout.roots(disk, table, folder):
        files = layout.root_files(disk, partition, folder)
        files.require_clean()
        return files, os_release
    raise unreadable(f"no partition with {layout.OS_RELEASE} was found" if table.label else "it has no partition table")


def read_os_release(text: str) -> OsRelease:
    """Raises BuildError where the names are not those of a distribution."""
    values = layout.parse_os_release(text)
    name, version = values.get("ID", ""), values.get("VERSION_ID", "")
    if not _WORD.fullmatch(name) or not _WORD.fullmatch(version):
        raise BuildError(
            f"{layout.OS_RELEASE} in the finished image does not name a distribution: ID={name[:80]!r}, "
            f"VERSION_ID={version[:80]!r}",
            hint="A package or a script changed it during the build; see the log.",
        )
    return OsRelease(id=name, version_id=version, pretty_name=values.get("PRETTY_NAME") or f"{name} {version}")


def find_licenses(
    installed: Sequence[InstalledPackage], copyrights: Mapping[str, bytes]
) -> dict[str, tuple[License, ...]]:
    """The licenses of each package that has a copyright file, its own or that of a package of the same source.

    The folder of its documents may be a link to theirs (Debian Policy, 12.5), which an image without documentation has
    not. Where the others differ, nobody knows which of them it was.
    """
    parsed = {content: read_copyright(content) for content in set(copyrights.values())}
    by_source = defaultdict[tuple[str, str], set[bytes]](set)
    for item in installed:
        if item.package.name in copyrights:
            by_source[item.source, item.source_version].add(copyrights[item.package.name])
    found = {}
    for item in installed:
        own = copyrights.get(item.package.name)
        candidates = by_source[item.source, item.source_version] if own is None else {own}
        if len(candidates) == 1:
            found[item.package.name] = parsed[next(iter(candidates))]
    return found


def find_owners(distributions: Iterable[Distribution], lists: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Which package installed each distribution; `lists` are packages with the lists of their files."""
    wanted = {item.path.encode(): item.path for item in distributions}
    return {wanted[line]: package for package, content in lists for line in wanted.keys() & set(content.split(b"\n"))}
