"""A finished image's bytes, read back without an appliance: what is in them, and what they cannot do to us."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.host.errors import BuildError
from ci.host.files import sha256_file
from ci.host.process import run
from ci.image.contents.image_contents import ImageContents, read_contents
from ci.records.packages import Package
from tests.support.disks import SECTOR, compress, debian_tree, make_disk, make_image, noise

pytestmark = pytest.mark.integration

PACKAGES = tuple(
    Package(name=name, version=version, architecture=architecture, installed_kib=7)
    for name, version, architecture in [
        ("curl", "7.88.1-10", "amd64"),
        ("git", "1:2.39.2~rc1-1+b1", "amd64"),
        ("python3-idna", "3.3-1", "all"),
    ]
)
DEP5 = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: {}
"""
SITE = "usr/lib/python3/dist-packages"
LOCAL = "usr/local/lib/python3.11/dist-packages"

Read = Callable[[], ImageContents]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return debian_tree(tmp_path / "tree", PACKAGES)


@pytest.fixture
def read(tmp_path: Path, tree: Path) -> Read:
    """Make an image of the tree, and read it."""

    def read() -> ImageContents:
        return look_into(make_image(tmp_path / "image.qcow2", tree), tmp_path)

    return read


def look_into(image: Path, folder: Path) -> ImageContents:
    """Whatever comes of it, the image is the same afterwards, and nothing is left beside it."""
    work, before = folder / "work", sha256_file(image)
    work.mkdir()
    around = {*folder.rglob("*")}
    try:
        return read_contents(image, work)
    finally:
        assert sha256_file(image) == before
        left = {*folder.rglob("*")} - around
        assert left == set()


def write(tree: Path, path: str, content: str | bytes) -> Path:
    target = tree / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    return target


def packages(contents: ImageContents) -> tuple[Package, ...]:
    return tuple(item.package for item in contents.installed)


def names(contents: ImageContents, package: str) -> list[str]:
    return [item.name for item in contents.licenses.get(package, ())]


class TestWhatIsThere:
    def test_packages_and_distribution_are_those_of_the_image(self, read: Read) -> None:
        contents = read()
        assert packages(contents) == PACKAGES
        assert (contents.os.id, contents.os.version_id) == ("debian", "12")

    def test_the_root_is_found_behind_other_partitions(self, tree: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        write(other, "boot/grub/grub.cfg", "")
        image = make_image(tmp_path / "image.qcow2", None, other, tree)
        assert packages(look_into(image, tmp_path)) == PACKAGES

    def test_licenses_are_found_through_links_of_every_kind(self, tree: Path, read: Read) -> None:
        documents = tree / "usr/share/doc"
        write(documents, "curl/copyright", DEP5.format("curl"))
        (documents / "git/copyright").unlink()
        (documents / "git/copyright").symlink_to("../curl/copyright")
        (documents / "python3-idna/copyright").unlink()
        (documents / "python3-idna").rmdir()
        (documents / "python3-idna").symlink_to("git")
        contents = read()
        assert [names(contents, package.name) for package in PACKAGES] == [["curl"]] * 3

    def test_an_image_without_documents_has_no_licenses(self, tree: Path, read: Read) -> None:
        run(["rm", "-r", tree / "usr/share"], timeout=60)
        assert dict(read().licenses) == {}

    def test_python_distributions_know_who_installed_them(self, tree: Path, read: Read) -> None:
        owned = f"{SITE}/idna-3.3.egg-info"
        write(tree, owned, "Name: idna\nVersion: 3.3\n")
        write(tree, "var/lib/dpkg/info/python3-idna.list", f"/.\n/{owned}\n")
        write(tree, f"{LOCAL}/rich-14.0.dist-info/METADATA", "Name: rich\nVersion: 14.0\nLicense-Expression: MIT\n")
        write(tree, f"{LOCAL}/old-1.egg-info/PKG-INFO", "Name: old\nVersion: 1\n")
        contents = read()
        assert [(item.name, item.path) for item in contents.distributions] == [
            ("idna", f"/{owned}"),
            ("old", f"/{LOCAL}/old-1.egg-info/PKG-INFO"),
            ("rich", f"/{LOCAL}/rich-14.0.dist-info/METADATA"),
        ]
        assert contents.owners == {f"/{owned}": "python3-idna"}


class TestHostileFiles:
    def test_a_link_out_of_the_image_stays_in_it(self, tree: Path, tmp_path: Path, read: Read) -> None:
        outside = write(tmp_path, "outside", DEP5.format("ISC"))
        for package, target in (("curl", str(outside)), ("git", f"../../../../../../../../..{outside}")):
            (tree / f"usr/share/doc/{package}/copyright").unlink()
            (tree / f"usr/share/doc/{package}/copyright").symlink_to(target)
        contents = read()
        assert (names(contents, "curl"), names(contents, "git")) == ([], [])

    def test_links_without_an_end_and_things_that_are_no_files_are_passed_over(self, tree: Path, read: Read) -> None:
        documents = tree / "usr/share/doc"
        for package in PACKAGES:
            (documents / package.name / "copyright").unlink()
        (documents / "curl/copyright").symlink_to("copyright")
        os.mkfifo(documents / "git/copyright")
        (documents / "python3-idna/copyright").mkdir()
        assert not any(read().licenses.values())

    @pytest.mark.parametrize(
        "name",
        ["a b", 'a"b', "a\nstat ", "a\n\t1\t100644\t0\t0\tx\t9\t", "$(touch x)", "-r", "\x1b[2J", "ü", "\udcff"],
    )
    def test_a_name_with_anything_in_it_is_a_name(self, tree: Path, read: Read, name: str) -> None:
        write(tree, f"{SITE}/{name}.egg-info", "Name: odd\nVersion: 1\n")
        write(tree, f"{SITE}/plain-1.egg-info", "Name: plain\nVersion: 1\n")
        assert [item.name for item in read().distributions if item.name != "odd"] == ["plain"]

    def test_a_name_that_climbs_out_of_its_folder_writes_nothing(self, tree: Path, tmp_path: Path) -> None:
        name = "AAAAAA-escaped.egg-info"
        write(tree, f"{SITE}/{name}", "Name: escaped\nVersion: 1\n")
        disk = tmp_path / "image.raw"
        make_disk(disk, tree, features=["^metadata_csum"])
        content = disk.read_bytes()
        assert content.count(name.encode()) == 1
        disk.write_bytes(content.replace(name.encode(), b"../../" + name.encode()[6:]))
        assert look_into(compress(disk, tmp_path / "image.qcow2"), tmp_path).distributions == ()

    @pytest.mark.parametrize("path", ["usr/share/doc/curl/copyright", "var/lib/dpkg/info/curl.list"])
    def test_a_file_that_claims_a_terabyte_is_refused(self, tree: Path, read: Read, path: str) -> None:
        os.truncate(tree / path, 1 << 40)
        with pytest.raises(BuildError, match="has 1099511627776 bytes, more than 8388608"):
            read()


class TestDamage:
    def test_half_a_list_of_packages_is_noticed(self, tree: Path, read: Read) -> None:
        status = tree / "var/lib/dpkg/status"
        status.write_text(status.read_text()[: status.stat().st_size // 2])
        with pytest.raises(BuildError, match="cannot be told"):
            read()

    def test_an_image_without_a_list_of_packages_is_refused(self, tree: Path, read: Read) -> None:
        (tree / "var/lib/dpkg/status").unlink()
        with pytest.raises(BuildError, match="nothing is installed"):
            read()

    def test_a_disk_without_a_partition_is_refused(self, tmp_path: Path) -> None:
        disk = tmp_path / "image.raw"
        make_disk(disk)
        with pytest.raises(BuildError, match="no partition with"):
            look_into(compress(disk, tmp_path / "image.qcow2"), tmp_path)

    def test_a_disk_without_a_partition_table_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "image.raw").write_bytes(noise(8 << 20))
        image = compress(tmp_path / "image.raw", tmp_path / "image.qcow2")
        with pytest.raises(BuildError, match="no partition table"):
            look_into(image, tmp_path)

    def test_a_file_system_that_was_not_unmounted_is_refused(self, tree: Path, tmp_path: Path) -> None:
        disk = tmp_path / "image.raw"
        (start,) = make_disk(disk, tree)
        run(["debugfs", "-w", "-R", "feature needs_recovery", f"{disk}?offset={start}"], timeout=60)
        with pytest.raises(BuildError, match="was not unmounted"):
            look_into(compress(disk, tmp_path / "image.qcow2"), tmp_path)

    @pytest.mark.parametrize("where", [0.0, 0.01, 0.1, 0.5])
    def test_noise_in_the_file_system_is_an_error_or_changes_nothing(
        self, tree: Path, tmp_path: Path, where: float
    ) -> None:
        disk = tmp_path / "image.raw"
        (start,) = make_disk(disk, tree)
        with disk.open("r+b") as file:
            file.seek(start + int(where * (16 << 20)) // SECTOR * SECTOR)
            file.write(noise(256 << 10))
        try:
            contents = look_into(compress(disk, tmp_path / "image.qcow2"), tmp_path)
        except BuildError:
            return
        assert packages(contents) == PACKAGES
