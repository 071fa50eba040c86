"""The packages that dpkg says are installed in the guest."""

from debian.debian_support import Version

from ci.records.packages import Package

DPKG_QUERY_FORMAT = "${Package}\\t${Version}\\t${Architecture}\\t${Installed-Size}\\t${db:Status-Status}\\n"


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
