import json
from typing import Any

import pytest

from ci.host.errors import BaseImageError
from ci.image.definition import OperatingSystem
from ci.image.disk.layout import (
    Layout,
    Partition,
    Table,
    appliance_layout,
    check_os,
    find_boot,
    mount,
    parse_blkid,
    parse_fstab,
    parse_os_release,
    parse_table,
    require_growable,
)
from tests.support.scripted_guest import ScriptedGuest

JAMMY = OperatingSystem(id="ubuntu", version_id="22.04")
UUID = "4b3a9c8e-1111-2222-3333-444455556666"
BOOT_UUID = "5c4b3a9c-1111-2222-3333-444455556666"
LINUX, BIOS, ESP, XBOOTLDR = (
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    "21686148-6449-6E6F-744E-656564454649",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "BC13C2FF-59E6-4262-A352-B275FD6F7172",
)
# As sfdisk prints Ubuntu's: the root is number 1, and last on the disk.
SFDISK: dict[str, Any] = json.loads(f"""{{
  "label": "gpt", "device": "/w/disk.raw", "unit": "sectors", "lastlba": 4612062, "sectorsize": 512,
  "partitions": [
    {{"node": "/w/disk.raw1", "start": 227328, "size": 4384735, "type": "{LINUX}"}},
    {{"node": "/w/disk.raw14", "start": 2048, "size": 8192, "type": "{BIOS}"}},
    {{"node": "/w/disk.raw15", "start": 10240, "size": 217088, "type": "{ESP}"}}
  ]
}}""")
FOUND = {
    "/w/disk.raw1": {"TYPE": "ext4", "UUID": UUID},
    "/w/disk.raw14": {},
    "/w/disk.raw15": {"TYPE": "vfat", "UUID": "A1B2-C3D4"},
}
ROOT = Partition(number=1, start=227328, size=4384735, kind=LINUX, holds="ext4", uuid=UUID)
UBUNTU = parse_table(SFDISK, "/w/disk.raw", FOUND)

# Ubuntu's since 24.04: with a file system for /boot.
NOBLE_SFDISK: dict[str, Any] = SFDISK | {
    "lastlba": 7339998,
    "partitions": [
        {"node": "/w/disk.raw1", "start": 2099200, "size": 5240799, "type": LINUX},
        {"node": "/w/disk.raw14", "start": 2048, "size": 8192, "type": BIOS},
        {"node": "/w/disk.raw15", "start": 10240, "size": 217088, "type": ESP},
        {"node": "/w/disk.raw16", "start": 227328, "size": 1869825, "type": XBOOTLDR},
    ],
}
NOBLE_FOUND = {
    "/w/disk.raw1": {"TYPE": "ext4", "UUID": UUID, "LABEL": "cloudimg-rootfs"},
    "/w/disk.raw14": {},
    "/w/disk.raw15": {"TYPE": "vfat", "UUID": "A1B2-C3D4", "LABEL": "UEFI"},
    "/w/disk.raw16": {"TYPE": "ext4", "UUID": BOOT_UUID, "LABEL": "BOOT"},
}
NOBLE = parse_table(NOBLE_SFDISK, "/w/disk.raw", NOBLE_FOUND)
NOBLE_ROOT, _, _, NOBLE_BOOT = NOBLE.partitions
NOBLE_FSTAB = """\
LABEL=cloudimg-rootfs\t/\text4\tdiscard,commit=30,errors=remount-ro\t0 1
LABEL=BOOT\t/boot\text4\tdefaults\t0 2
LABEL=UEFI\t/boot/efi\tvfat\tumask=0077\t0 1
"""


def test_ubuntus_table_is_read() -> None:
    assert UBUNTU.label == "gpt"
    assert UBUNTU.partitions[0] == ROOT
    assert [(one.number, one.holds) for one in UBUNTU.partitions] == [(1, "ext4"), (14, ""), (15, "vfat")]


def test_a_disk_whose_name_ends_in_a_digit_has_its_partitions_behind_a_p() -> None:
    entry = {"node": "/w/disk2p15", "start": 1, "size": 2, "type": ESP}
    table = parse_table({"label": "gpt", "partitions": [entry]}, "/w/disk2", {"/w/disk2p15": {}})
    assert [one.number for one in table.partitions] == [15]


def test_a_table_without_partitions_is_one() -> None:
    assert parse_table({"label": "dos"}, "/w/disk.raw", {}) == Table(label="dos", partitions=())


def test_each_partition_has_its_place() -> None:
    assert appliance_layout(UBUNTU, ROOT, "") == {"/": ROOT, "/boot/efi": UBUNTU.partitions[2]}
    assert appliance_layout(NOBLE, NOBLE_ROOT, NOBLE_FSTAB) == {
        "/": NOBLE_ROOT, "/boot": NOBLE_BOOT, "/boot/efi": NOBLE.partitions[2],
    }  # fmt: skip


@pytest.mark.parametrize("found", [{}, {"TYPE": "ext4", "UUID": "x"}])
def test_an_efi_partition_without_its_file_system_is_none(found: dict[str, str]) -> None:
    table = parse_table(SFDISK, "/w/disk.raw", FOUND | {"/w/disk.raw15": found})
    assert appliance_layout(table, ROOT, "") == {"/": ROOT}


def test_the_table_of_a_disk_with_a_file_system_for_boot_is_read() -> None:
    assert [(one.number, one.holds, one.name) for one in NOBLE.partitions] == [
        (1, "ext4", "cloudimg-rootfs"), (14, "", ""), (15, "vfat", "UEFI"), (16, "ext4", "BOOT"),
    ]  # fmt: skip
    require_growable(NOBLE, NOBLE_ROOT)
    with pytest.raises(BaseImageError, match="not its last partition"):
        require_growable(NOBLE, NOBLE_BOOT)


@pytest.mark.parametrize(
    ("fstab", "boot"),
    [
        (NOBLE_FSTAB, NOBLE_BOOT),
        (f"UUID={BOOT_UUID} /boot ext4 defaults 0 2\n", NOBLE_BOOT),
        ("LABEL=cloudimg-rootfs / ext4 defaults 0 1\nLABEL=UEFI /boot/efi vfat defaults 0 1\n", None),
        ("#LABEL=BOOT /boot ext4 defaults 0 2\n  #LABEL=other /boot ext4\n", None),
        ("", None),
    ],
    ids=["label", "uuid", "absent", "comment", "empty"],
)
def test_what_is_mounted_at_boot_is_found_by_the_bases_own_table(fstab: str, boot: Partition | None) -> None:
    assert find_boot(NOBLE, fstab) == boot


@pytest.mark.parametrize("source", ["LABEL=boot", "UUID=x", "/dev/vda16", "PARTLABEL=BOOT", "LABEL=UEFI"])
def test_what_is_at_boot_and_cannot_be_found_is_told(source: str) -> None:
    with pytest.raises(BaseImageError, match=f"mounts {source} at /boot, which is none of its ext4") as caught:
        find_boot(NOBLE, f"LABEL=cloudimg-rootfs / ext4 defaults 0 1\n{source} /boot auto defaults 0 2\n")
    assert caught.value.hint


def test_an_fstab_is_read_by_its_places() -> None:
    text = "\n# a comment\n\t# another\nLABEL=a  / ext4 x 0 1\n//host/b\t/mnt/b\tcifs\nnonsense\nLABEL=c /c\n"
    assert parse_fstab(text) == {"/": "LABEL=a", "/mnt/b": "//host/b"}


@pytest.mark.parametrize(
    ("table", "root", "message"),
    [
        (Table(label="dos", partitions=UBUNTU.partitions), ROOT, "not GPT"),
        (Table(label="", partitions=UBUNTU.partitions), ROOT, "not GPT"),
        (UBUNTU, UBUNTU.partitions[2], "not its last partition"),
    ],
)
def test_a_disk_that_cannot_grow_is_told(table: Table, root: Partition, message: str) -> None:
    with pytest.raises(BaseImageError, match=message) as caught:
        require_growable(table, root)
    assert caught.value.hint


def test_ubuntus_disk_can_grow() -> None:
    require_growable(UBUNTU, ROOT)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"ID": "ubuntu", "VERSION_ID": "24.04"}, "is ubuntu 24.04, .* expects ubuntu 22.04"),
        ({"ID": "fedora", "VERSION_ID": "41"}, "is fedora 41, .* expects ubuntu 22.04"),
        ({}, "is None None"),
    ],
)
def test_another_system_is_told(found: dict[str, str], message: str) -> None:
    with pytest.raises(BaseImageError, match=message) as caught:
        check_os(found, JAMMY)
    assert caught.value.hint


def test_what_blkid_finds_is_read() -> None:
    assert parse_blkid("DEVNAME=/w/disk.raw\nUUID=1\nTYPE=ext4\nLABEL=a=b\n\n") == {
        "DEVNAME": "/w/disk.raw", "UUID": "1", "TYPE": "ext4", "LABEL": "a=b",
    }  # fmt: skip


ROOT_MOUNT, BOOT_MOUNT = "mount /dev/sda1 /", "mount /dev/sda16 /boot"
ESP_MOUNTS = ["mkdir-p /boot/efi", "mount /dev/sda15 /boot/efi"]


@pytest.mark.parametrize(
    ("layout", "commands"),
    [
        (appliance_layout(NOBLE, NOBLE_ROOT, NOBLE_FSTAB), [ROOT_MOUNT, BOOT_MOUNT, *ESP_MOUNTS]),
        (appliance_layout(UBUNTU, ROOT, ""), [ROOT_MOUNT, *ESP_MOUNTS]),
        ({"/": NOBLE_ROOT, "/boot": NOBLE_BOOT}, [ROOT_MOUNT, BOOT_MOUNT]),
        ({"/": ROOT}, [ROOT_MOUNT]),
    ],
    ids=["all", "efi", "boot", "root"],
)
def test_what_there_is_is_mounted_from_the_root_on(layout: Layout, commands: list[str]) -> None:
    guest = ScriptedGuest()
    mount(guest, layout)
    assert guest.commands == commands


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('ID="debian"\n', {"ID": "debian"}),
        ("ID='debian'\n", {"ID": "debian"}),
        ("ID=debian\r\n", {"ID": "debian"}),
        ('# ID=no\n\nVERSION="12 (bookworm)"\n', {"VERSION": "12 (bookworm)"}),
        ('HOME_URL="https://e.org/?a=b"\n', {"HOME_URL": "https://e.org/?a=b"}),
        ("nonsense\n", {}),
        ("", {}),
    ],
)
def test_os_release_is_read_with_and_without_quotes(text: str, expected: dict[str, str]) -> None:
    assert parse_os_release(text) == expected
