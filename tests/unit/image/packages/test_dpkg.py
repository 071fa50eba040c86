from pathlib import Path

import pytest

from ci.host.errors import BaseImageError
from ci.image.packages.dpkg import (
    ARCHITECTURES,
    DIVERSIONS,
    SETTLED,
    STATUS,
    PackageStanza,
    installed,
    parse_packages,
    require_buildable,
)

PROGRAMS = ("systemctl", "mount", "sshd")
BASE = """\
Package: curl
Status: install ok installed
Version: 7.88.1-10
Architecture: amd64

Package: gone
Status: deinstall ok config-files
Version: 1.0
Architecture: all

Package: git
Status: install ok installed
Version: 1:2.39.5-0
Architecture: amd64
Description: a\x00description \udcff
 with a line
"""
# The states of dpkg(1), but for those in which nothing waits to be done.
UNSETTLED = ("half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending")


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    write(tmp_path, STATUS, BASE)
    return tmp_path


def write(facts: Path, path: str, text: str) -> None:
    file = facts / path.strip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode(errors="surrogateescape"))


def entry(name: str, status: str) -> str:
    return f"\nPackage: {name}\nStatus: {status}\nVersion: 1\n"


def complaint(facts: Path) -> BaseImageError:
    with pytest.raises(BaseImageError) as caught:
        require_buildable(facts, PROGRAMS)
    return caught.value


def diversion(path: str, by: str = ":") -> str:
    return f"{path}\n{path}.distrib\n{by}\n"


def test_only_what_is_installed_counts(facts: Path) -> None:
    write(facts, STATUS, BASE + entry("half", "install ok half-installed") + entry("none", "purge ok not-installed"))
    versions = {name: package.version for name, package in installed(facts).items()}
    assert versions == {"curl": "7.88.1-10", "git": "1:2.39.5-0"}


def test_a_base_without_dpkg_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseImageError, match="no dpkg status"):
        installed(tmp_path)


def test_a_package_is_read_with_all_that_binds_it_to_others() -> None:
    text = """\
Package: openssh-server
Version: 1:9.2p1-2+deb12u7
Pre-Depends: init-system-helpers (>= 1.54~)
Depends: adduser, libc6 (>= 2.36) [amd64], python3:any, debconf (>= 0.5) | debconf-2.0,
 openssh-client (= 1:9.2p1-2+deb12u7)
Provides: ssh-server, ssh-daemon (= 1)
Conflicts: sftp, rsh-client (<< 0.1)
Breaks: runit (<< 2.1.2-51~)
"""
    assert parse_packages(text)["openssh-server"] == PackageStanza(
        name="openssh-server",
        version="1:9.2p1-2+deb12u7",
        needs=(
            ("init-system-helpers",), ("adduser",), ("libc6",), ("python3",), ("debconf", "debconf-2.0"),
            ("openssh-client",),
        ),
        provides=("ssh-server", "ssh-daemon"),
        conflicts=("sftp", "rsh-client", "runit"),
    )  # fmt: skip


def test_a_package_that_needs_nothing_has_no_needs() -> None:
    assert parse_packages("Package: a\nVersion: 1\n") == {"a": PackageStanza(name="a", version="1")}


@pytest.mark.parametrize(
    ("field", "vital"),
    [
        ("Essential: yes", True),
        ("Protected: yes", True),
        ("Important: yes", True),
        ("Essential: no", False),
        ("Priority: important", False),
    ],
)
def test_what_apt_never_removes_is_known_by_its_entry(field: str, *, vital: bool) -> None:
    assert parse_packages(f"Package: a\nVersion: 1\n{field}\n")["a"].vital == vital


def test_of_several_versions_the_first_counts() -> None:
    assert parse_packages("Package: a\nVersion: 2\n\nPackage: a\nVersion: 1\n")["a"].version == "2"


def test_a_base_as_its_publisher_made_it_can_be_built_upon(facts: Path) -> None:
    write(facts, ARCHITECTURES, "amd64\n")
    write(facts, DIVERSIONS, "")
    require_buildable(facts, PROGRAMS)


@pytest.mark.parametrize("state", SETTLED)
def test_a_state_in_which_nothing_waits_is_let_through(state: str, facts: Path) -> None:
    write(facts, STATUS, BASE + entry("other", f"deinstall ok {state}"))
    require_buildable(facts, PROGRAMS)


@pytest.mark.parametrize("state", UNSETTLED)
def test_a_package_that_is_not_completely_installed_is_named(state: str, facts: Path) -> None:
    write(facts, STATUS, BASE + entry("snapd", f"install ok {state}") + entry("apport", f"install ok {state}"))
    error = complaint(facts)
    assert error.message == "the base image has packages that are not completely installed: apport, snapd"
    assert "dpkg --configure -a" in error.hint


def test_a_package_that_must_be_installed_anew_is_named(facts: Path) -> None:
    write(facts, STATUS, BASE + entry("snapd", "install reinstreq half-installed"))
    assert "snapd" in complaint(facts).message


def test_a_package_that_is_held_is_named_with_how_to_release_it(facts: Path) -> None:
    write(facts, STATUS, BASE + entry("snapd", "hold ok installed") + entry("apport", "hold ok installed"))
    error = complaint(facts)
    assert error.message == "the base image holds packages back: apport, snapd"
    assert "`apt-mark unhold apport snapd`" in error.hint


def test_a_hold_upon_what_is_not_there_holds_nothing(facts: Path) -> None:
    write(facts, STATUS, BASE + entry("snapd", "hold ok not-installed"))
    require_buildable(facts, PROGRAMS)


def test_an_entry_that_says_nothing_of_a_state_is_no_package(facts: Path) -> None:
    write(facts, STATUS, f"{BASE}\nPackage: recommended\nArchitecture: all\n")
    require_buildable(facts, PROGRAMS)
    assert "recommended" not in installed(facts)


def test_a_foreign_architecture_is_named(facts: Path) -> None:
    write(facts, ARCHITECTURES, "amd64\ni386\n")
    error = complaint(facts)
    assert error.message == "the base image takes packages of a foreign architecture: i386"
    assert "dpkg --remove-architecture" in error.hint


def test_a_program_that_is_not_its_packages_is_named_with_how_to_take_it_back(facts: Path) -> None:
    write(facts, DIVERSIONS, diversion("/usr/bin/systemctl") + diversion("/sbin/mount", "molly-guard"))
    error = complaint(facts)
    assert error.message == "the base image has another program in the place of: /sbin/mount, /usr/bin/systemctl"
    assert "`dpkg-divert --remove /sbin/mount`" in error.hint


@pytest.mark.parametrize(
    "path",
    [
        "/usr/share/man/man1/systemctl",  # no program
        "/usr/share/bash-completion/completions/systemctl",
        "/usr/bin/pager",  # none that the build uses
        "/bin/sh",
    ],
)
def test_another_diversion_is_let_through(path: str, facts: Path) -> None:
    write(facts, DIVERSIONS, diversion(path, "dash"))
    require_buildable(facts, PROGRAMS)


def test_where_a_program_was_moved_to_is_not_its_place(facts: Path) -> None:
    write(facts, DIVERSIONS, "/usr/bin/pager\n/usr/bin/systemctl\nless\n")
    require_buildable(facts, PROGRAMS)
