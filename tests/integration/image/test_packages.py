"""Packages chosen and fetched with this machine's apt, for the real base and from the real archive."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from debian.debfile import DebFile

from ci.host import qcow2
from ci.host.errors import BaseImageError, BuildError
from ci.host.files import sha256_file
from ci.host.process import run
from ci.host.repository import BUILD
from ci.image.definition import Packages, load_definition
from ci.image.disk import layout
from ci.image.packages import archive
from ci.image.packages.apt import Choice
from ci.image.packages.choose import BaseFacts
from ci.image.packages.dpkg import ARCHITECTURES, DIVERSIONS, STATUS, installed
from ci.image.packages.requirements import Requirements, read_requirements
from tests.support.standin.base import IMAGE, make_package, read_facts

pytestmark = pytest.mark.integration

DEFINITION = load_definition(IMAGE, BUILD / "images")


@pytest.fixture(scope="module")
def wanted() -> Packages:
    return DEFINITION.packages


@pytest.fixture(scope="module")
def requirements() -> Requirements:
    return read_requirements(BUILD / "provision" / "requirements.toml")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def facts(base: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> BaseFacts:
    work = tmp_path_factory.mktemp("work")
    raw = work / "base.raw"
    qcow2.convert_to_raw(base, raw)
    root = layout.find_root(raw, layout.read_table(raw), DEFINITION.os, work)
    facts = BaseFacts(cache, sha256_file(base))
    facts.read(layout.root_files(raw, root, work))
    return facts


@pytest.fixture(scope="module")
def choice(wanted: Packages, facts: BaseFacts, requirements: Requirements) -> Choice:
    return facts.choose(wanted, requirements)


def test_what_is_wanted_and_not_there_is_fetched(choice: Choice, wanted: Packages, facts: BaseFacts) -> None:
    there = set(installed(facts.path))
    assert "systemd" in there
    assert set(wanted.install) <= there | {deb.name for deb in choice.transaction.install}


def test_what_is_unwanted_goes_with_what_nothing_else_needs(choice: Choice) -> None:
    gone = {change.name for change in choice.transaction.goes}
    assert {"needrestart", "unattended-upgrades", "libintl-perl"} <= gone
    assert {"ubuntu-minimal", "ubuntu-server", "update-manager-core"} <= gone  # they depend on what is unwanted
    assert "mtr-tiny-ubuntu" not in gone  # a metapackage brought it
    assert not gone & {"python3", "systemd", "openssh-server"}


def test_the_files_are_those_that_were_chosen(choice: Choice) -> None:
    promised = {deb.file: deb.sha256 for deb in choice.transaction.install}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in choice.files} == promised


def test_a_second_look_comes_to_the_same_and_repairs_a_damaged_file(
    choice: Choice, wanted: Packages, facts: BaseFacts, requirements: Requirements
) -> None:
    damaged = choice.files[0]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    again = facts.choose(wanted, requirements)
    assert again == choice
    assert sha256_file(damaged) == choice.transaction.install[0].sha256


def test_a_package_that_the_archive_lacks_is_named(
    wanted: Packages, facts: BaseFacts, requirements: Requirements
) -> None:
    misspelt = wanted.model_copy(update={"install": (*wanted.install, "cuurl")})
    with pytest.raises(BuildError, match="has no cuurl, which the image definition installs"):
        facts.choose(misspelt, requirements)


@pytest.mark.parametrize(
    ("unwanted", "chain"),
    [
        ("libcurl4", "curl needs libcurl4, which the definition purges"),
        ("git-man", "git needs git-man, which the definition purges"),  # not there before
        ("libpam-runtime", "openssh-server needs libpam-runtime, which the definition purges"),
    ],
)
def test_what_is_installed_is_not_purged_from_under_it(
    unwanted: str, chain: str, wanted: Packages, facts: BaseFacts, requirements: Requirements
) -> None:
    contradictory = wanted.model_copy(update={"purge": (*wanted.purge, unwanted)})
    with pytest.raises(BuildError) as caught:
        facts.choose(contradictory, requirements)
    assert chain in f"{caught.value.message}\n{caught.value.details}"


# What somebody has done to a base: the file of it that tells, how it changes, and what the error names.
NEWEST = "linux-image-5.10.0-999-amd64"
SPOILT: dict[str, tuple[str, Callable[[str], str], str]] = {
    "held": (STATUS, lambda text: spoil(text, "git", "hold ok installed"), "holds packages back: git"),
    "half-configured": (
        STATUS, lambda text: spoil(text, "git", "install ok half-configured"), "not completely installed: git",
    ),
    "diverted": (
        DIVERSIONS, lambda text: f"{text}/bin/systemctl\n/bin/systemctl.real\n:\n", "in the place of: /bin/systemctl",
    ),
    "foreign": (ARCHITECTURES, lambda _: "amd64\ni386\n", "a foreign architecture: i386"),
    "newer-kernel-without-9p": (
        STATUS,
        lambda text: f"{text}\nPackage: {NEWEST}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n",
        "5.10.0-999-amd64, would be started and has no 9p",
    ),
}  # fmt: skip


def spoil(text: str, package: str, status: str) -> str:
    """dpkg's status file with another status of a package."""
    before = f"Package: {package}\nStatus: install ok installed\n"
    assert before in text
    return text.replace(before, f"Package: {package}\nStatus: {status}\n")


@pytest.mark.parametrize("how", SPOILT)
def test_a_base_that_somebody_has_spoilt_is_refused_by_name(
    how: str, wanted: Packages, facts: BaseFacts, requirements: Requirements, tmp_path: Path
) -> None:
    path, change, message = SPOILT[how]
    spoilt = BaseFacts(tmp_path, "0" * 64)
    shutil.copytree(facts.path, spoilt.path)
    file = spoilt.path / path.strip("/")
    file.write_text(change(file.read_text() if file.exists() else ""))
    modules = spoilt.path / "lib/modules/5.10.0-999-amd64/modules.order"
    modules.parent.mkdir()
    modules.write_text("kernel/fs/ext4/ext4.ko\n")
    with pytest.raises(BaseImageError, match=message):
        spoilt.choose(wanted, requirements)


def test_the_disk_holds_each_package_and_an_index_of_them(choice: Choice, tmp_path: Path) -> None:
    image = tmp_path / "archive.img"
    archive.make_archive(choice.files, choice.described, image, tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    run(["debugfs", "-R", f"rdump / {out}", image], timeout=60)
    index = (out / "Packages").read_text(encoding="utf-8")
    for deb in choice.transaction.install:
        path = out / deb.file
        assert f"Filename: ./{deb.file}\nSize: {path.stat().st_size}\n" in index
        with path.open("rb") as file:
            assert DebFile(fileobj=file).debcontrol()["Version"] == deb.version


def test_a_package_that_is_packed_as_ubuntus_are_comes_through(tmp_path: Path) -> None:
    name = "update-notifier-common"
    packed = make_package(tmp_path, name, read_facts()[name], compression="zstd")
    target = tmp_path / "repacked.deb"
    archive.repack(packed, target)
    assert b"control.tar.zst" in target.read_bytes()
    for what in ("--field", "--contents"):
        assert run(["dpkg-deb", what, target], timeout=60).stdout == run(["dpkg-deb", what, packed], timeout=60).stdout
