"""The list of installed packages, as it ships beside the image."""

from dataclasses import dataclass

from debian.debian_support import Version

DPKG_QUERY_FORMAT = "${Package}\\t${Version}\\t${Architecture}\\t${Installed-Size}\\t${db:Status-Status}\\n"
HEADER = "package\tversion\tarchitecture\tinstalled_kib"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package; `installed_kib` is dpkg's estimate."""

    name: str
    version: str
    architecture: str
    installed_kib: int


def parse_dpkg_query(output: str) -> tuple[Package, ...]:
    """The installed packages from dpkg-query's output in DPKG_QUERY_FORMAT, sorted by name.

    Packages that were removed but not purged are left out.
    """
    packages = []
    for line in output.splitlines():
        name, version, architecture, size, status = line.split("\t")
        if status == "installed":
            package = Package(name=name, version=version, architecture=architecture, installed_kib=int(size or 0))
            packages.append(package)
    return tuple(sorted(packages, key=lambda package: (package.name, package.architecture, Version(package.version))))


def to_tsv(packages: tuple[Package, ...]) -> str:
    """Tab-separated values with a header line."""
    rows = [f"{item.name}\t{item.version}\t{item.architecture}\t{item.installed_kib}" for item in packages]
    return "\n".join([HEADER, *rows]) + "\n"
