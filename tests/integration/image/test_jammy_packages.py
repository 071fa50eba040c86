"""What becomes of the packages of Ubuntu 22.04's cloud image, on the facts in tests/support/data.

apt-get decides, hence no unit tests; it fetches nothing and changes nothing.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from ci.host.errors import BaseImageError, BuildError
from ci.host.process import run
from ci.host.repository import BUILD
from ci.image.definition import Packages, load_definition
from ci.image.packages import dpkg
from ci.image.packages.apt import IMPOSSIBLE, Apt
from ci.image.packages.guard import KERNEL, ROLES
from ci.image.packages.requirements import programs, read_requirements, require_met
from ci.image.packages.transaction import Transaction, request
from ci.records.build import PackageStep
from tests.support.jammy_facts import (
    DATA,
    MARKS,
    Row,
    newer_kernel,
    older_kernel,
    open_apt,
    read_table,
    write_facts,
)

pytestmark = pytest.mark.integration

TABLE = read_table()
PACKAGES = load_definition("jammy", BUILD / "images").packages
REQUIREMENTS = read_requirements(BUILD / "provision" / "requirements.toml")
REMOVALS = tomllib.loads((DATA / "jammy-removals.toml").read_text(encoding="utf-8"))
LISTS = {
    "all-manual": ("named", "dependent"),
    "installer": ("named", "dependent", "unneeded"),
    "all-automatic-but-the-tops": tuple(REMOVALS),
}
OLDER = {
    "linux-headers-5.15.0-40", "linux-headers-5.15.0-40-generic", "linux-image-5.15.0-40-generic",
    "linux-modules-5.15.0-40-generic",
}  # fmt: skip


def wish(*unwanted: str, upgrade: bool = True) -> Packages:
    """What the definition asks for, and to purge `unwanted` too."""
    return PACKAGES.model_copy(update={"purge": (*PACKAGES.purge, *unwanted), "upgrade": upgrade})


def base(folder: Path, marks: str, rows: Sequence[Row] = TABLE.installed, offered: Sequence[Row] = ()) -> Apt:
    return open_apt(folder, rows, (*TABLE.offered, *offered), MARKS[marks])


def names(changes: Sequence[PackageStep]) -> set[str]:
    return {change.name for change in changes}


@pytest.fixture(scope="module", params=MARKS)
def marks(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def apt(marks: str, tmp_path_factory: pytest.TempPathFactory) -> Apt:
    return base(tmp_path_factory.mktemp(marks), marks)


@pytest.fixture(scope="module")
def transaction(apt: Apt) -> Transaction:
    return apt.choose(wish())


@pytest.fixture(scope="module")
def as_published(tmp_path_factory: pytest.TempPathFactory) -> Apt:
    return base(tmp_path_factory.mktemp("published"), "installer")


def expected_to_go(marks: str) -> set[str]:
    return {name for part in LISTS[marks] for name in REMOVALS[part]}


def test_just_what_is_unwanted_or_no_longer_needed_goes(marks: str, transaction: Transaction) -> None:
    assert names(transaction.goes) == expected_to_go(marks)


def test_the_same_goes_when_nothing_is_upgraded(marks: str, apt: Apt) -> None:
    assert names(apt.choose(wish(upgrade=False)).goes) == expected_to_go(marks)


def test_only_what_is_missing_comes(transaction: Transaction) -> None:
    offered = {row["name"] for row in TABLE.offered}
    assert names(transaction.comes) == offered
    assert {deb.name for deb in transaction.install} == offered
    assert set(PACKAGES.install) <= TABLE.names | offered
    assert not transaction.becomes


def test_what_an_image_needs_to_start_and_to_be_entered_stays(transaction: Transaction) -> None:
    gone = names(transaction.goes)
    needed = {name for name in TABLE.names if any(role.pattern.fullmatch(name) for role in ROLES)}
    kernel = {name for name in TABLE.names if KERNEL.fullmatch(name) or "5.15.0-48" in name}
    assert {role.package for role in ROLES} <= needed
    assert {"linux-virtual", "linux-image-5.15.0-48-generic", "linux-modules-5.15.0-48-generic"} <= kernel
    assert not gone & {*needed, *kernel, *PACKAGES.install}


def test_the_tools_are_new_enough_for_what_the_build_uses_of_them(apt: Apt, transaction: Transaction) -> None:
    require_met(REQUIREMENTS, apt.versions(transaction))


def test_apts_upgrade_cannot_do_it_which_is_why_dist_upgrade_is_asked_for(marks: str, tmp_path: Path) -> None:
    base(tmp_path, marks)
    verb, *words = request(wish(), TABLE.names)
    assert verb == "dist-upgrade"
    argv = ["apt-get", "--yes", "--simulate", "--with-new-pkgs", "upgrade", *words]
    done = run(argv, env={"APT_CONFIG": str(tmp_path / "apt" / "apt.conf")}, timeout=60, ok=(0, IMPOSSIBLE))
    assert done.returncode == IMPOSSIBLE, "apt-get upgrade now removes what depends on what is unwanted"
    assert "Broken packages" in done.stderr
    assert "ubuntu-server : Depends: " in done.stdout


@pytest.mark.parametrize(
    ("unwanted", "chain"),
    [
        ("libc-bin", "libc-bin is vital to any system, and the definition purges it"),
        ("openssh-client", "openssh-server needs openssh-client, which the definition purges"),
        ("libssl3", "ca-certificates needs openssl, which needs libssl3, which the definition purges"),
        ("python3", "cloud-guest-utils needs python3, which the definition purges"),
        ("sudo", "sudo would stay: the definition installs it"),
        (
            "systemd-sysv",
            "dbus-user-session needs libpam-systemd, which needs systemd-sysv, which the definition purges",
        ),
        ("linux-image-5.15.0-48-generic", "linux-image-5.15.0-48-generic would go: the definition purges it"),
        ("busybox-initramfs", "initramfs-tools needs initramfs-tools-core, which needs busybox-initramfs, which "),
        ("grub-efi-amd64-bin", "shim-signed needs grub-efi-amd64-signed, which needs grub-efi-amd64-bin, which "),
    ],
)
def test_a_purge_that_takes_what_must_stay_is_refused_with_the_chain(
    unwanted: str, chain: str, as_published: Apt
) -> None:
    with pytest.raises(BuildError) as caught:
        as_published.choose(wish(unwanted))
    assert f": {chain}" in caught.value.message


def test_an_older_kernel_goes_with_its_modules_and_headers(marks: str, tmp_path: Path) -> None:
    rows = (*TABLE.installed, *older_kernel(TABLE.installed))
    gone = names(base(tmp_path, marks, rows).choose(wish()).goes)
    assert {name for name in gone if name.startswith("linux-")} == OLDER


def test_the_kernel_of_the_base_goes_when_a_newer_one_comes(marks: str, tmp_path: Path) -> None:
    newer = newer_kernel(TABLE.installed)
    transaction = base(tmp_path, marks, offered=newer).choose(wish())
    assert {name for name in names(transaction.goes) if name.startswith("linux-")} == {
        name.replace("-40", "-48") for name in OLDER
    }
    assert names(transaction.comes) - {row["name"] for row in TABLE.offered} == {
        name.replace("-40", "-60") for name in OLDER
    }
    assert "linux-virtual" in names(transaction.becomes)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("hold ok installed", "the base image holds packages back: openssh-server"),
        ("install ok half-configured", "the base image has packages that are not completely installed: openssh-server"),
    ],
)
def test_packages_that_somebody_held_or_did_not_finish_are_refused(state: str, message: str, tmp_path: Path) -> None:
    write_facts(tmp_path, TABLE.installed, MARKS["installer"], {"openssh-server": state})
    with pytest.raises(BaseImageError) as caught:
        dpkg.require_buildable(tmp_path, programs(REQUIREMENTS))
    assert caught.value.message == message


def test_the_image_as_it_is_published_can_be_built_upon(tmp_path: Path) -> None:
    write_facts(tmp_path, TABLE.installed, MARKS["installer"])
    dpkg.require_buildable(tmp_path, programs(REQUIREMENTS))
