"""Growing a disk in place, with the tools that do it, on a disk that is laid out like Ubuntu's."""

import os
from pathlib import Path

import pytest

from ci.host.errors import BaseImageError
from ci.host.process import run
from ci.host.repository import ROOT
from ci.image.definition import OperatingSystem
from ci.image.disk import layout

pytestmark = pytest.mark.integration

LAYOUT = ROOT / "build" / "bootstrap" / "layout.sfdisk"
SYSTEM = OperatingSystem(id="ubuntu", version_id="22.04")
GIB = 1 << 30
MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A small Ubuntu: three partitions, the root with a file that fills some of it."""
    root, disk = tmp_path / "root", tmp_path / "disk.raw"
    (root / "etc").mkdir(parents=True)
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/os-release").write_text('ID=ubuntu\nVERSION_ID="22.04"\n')
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "data").write_bytes(os.urandom(20 * MIB))
    with disk.open("wb") as file:
        file.truncate(2252 * MIB)
    run(["sfdisk", "--quiet", disk], stdin=LAYOUT, timeout=60)
    (entry,) = (one for one in layout.read_table(disk).partitions if one.number == 1)
    start, size = entry.start * 512, entry.size * 512 // 1024
    run(["mke2fs", "-q", "-t", "ext4", "-d", root, "-E", f"offset={start}", disk, f"{size}k"], timeout=120)
    return disk


def test_the_root_fills_the_larger_disk_and_all_else_stays(disk: Path, tmp_path: Path) -> None:
    before = layout.read_table(disk)
    root = layout.find_root(disk, before, SYSTEM, tmp_path)
    layout.grow_root(disk, root, 20 * GIB, tmp_path)
    after = layout.read_table(disk)
    assert disk.stat().st_size == 20 * GIB
    assert disk.stat().st_blocks * 512 < GIB  # holes are still holes
    assert [(one.number, one.start, one.kind, one.uuid) for one in after.partitions] == [
        (one.number, one.start, one.kind, one.uuid) for one in before.partitions
    ]
    grown = next(one for one in after.partitions if one.number == 1)
    assert (grown.start + grown.size) * 512 > 20 * GIB - MIB
    device = f"{disk}?offset={grown.start * 512}"
    run(["e2fsck", "-f", "-n", device], timeout=120)
    described = run(["dumpe2fs", "-h", device], timeout=60).stdout
    assert f"Block count:              {grown.size * 512 // 4096}\n" in described
    run(["sfdisk", "--verify", disk], timeout=60)


def test_what_was_in_the_root_is_still_there(disk: Path, tmp_path: Path) -> None:
    root = layout.find_root(disk, layout.read_table(disk), SYSTEM, tmp_path)
    layout.grow_root(disk, root, 4 * GIB, tmp_path)
    found = layout.root_files(disk, root, tmp_path).read(["/data"], limit=GIB, total=GIB)
    assert found["/data"] == (tmp_path / "root" / "data").read_bytes()


def test_a_disk_that_is_larger_than_the_image_may_be_is_refused(disk: Path, tmp_path: Path) -> None:
    root = layout.find_root(disk, layout.read_table(disk), SYSTEM, tmp_path)
    with pytest.raises(BaseImageError, match="has 2252 MiB, the image definition allows 1024"):
        layout.grow_root(disk, root, GIB, tmp_path)
    assert disk.stat().st_size == 2252 * MIB


def test_a_disk_without_partitions_has_no_root(tmp_path: Path) -> None:
    empty = tmp_path / "empty.raw"
    empty.write_bytes(bytes(MIB))
    with pytest.raises(BaseImageError, match="found: no partitions"):
        layout.find_root(empty, layout.read_table(empty), SYSTEM, tmp_path)


def test_another_system_is_not_taken(disk: Path, tmp_path: Path) -> None:
    other = OperatingSystem(id="debian", version_id="12")
    with pytest.raises(BaseImageError, match=r"is ubuntu 22.04, .* expects debian 12"):
        layout.find_root(disk, layout.read_table(disk), other, tmp_path)
