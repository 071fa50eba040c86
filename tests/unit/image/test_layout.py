import json
from typing import Any

import pytest

from ci.host.errors import BaseImageError
from ci.image.definition import OperatingSystem
from ci.image.layout import (
    Layout,
    Partition,
    Table,
    appliance_layout,
    check_os,
    mount,
    parse_blkid,
    parse_os_release,
    parse_table,
    require_growable,
)
from tests.unit.image.scripted import ScriptedGuest

JAMMY = OperatingSystem(id="ubuntu", version_id="22.04")
UUID = "4b3a9c8e-1111-2222-3333-444455556666"
LINUX, BIOS, ESP = (
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    "21686148-6449-6E6F-744E-656564454649",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
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


def test_the_appliance_has_them_by_their_numbers() -> None:
    assert appliance_layout(UBUNTU, ROOT) == Layout(
        root="/dev/sda1", root_uuid=UUID, esp="/dev/sda15", esp_uuid="A1B2-C3D4"
    )


@pytest.mark.parametrize("found", [{}, {"TYPE": "ext4", "UUID": "x"}])
def test_an_efi_partition_without_its_file_system_is_none(found: dict[str, str]) -> None:
    table = parse_table(SFDISK, "/w/disk.raw", FOUND | {"/w/disk.raw15": found})
    assert appliance_layout(table, ROOT) == Layout(root="/dev/sda1", root_uuid=UUID)


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


def test_the_efi_partition_is_mounted_where_there_is_one() -> None:
    with_esp, without = ScriptedGuest(), ScriptedGuest()
    mount(with_esp, appliance_layout(UBUNTU, ROOT))
    mount(without, Layout(root="/dev/sda1", root_uuid=UUID))
    assert with_esp.commands == ["mount /dev/sda1 /", "mkdir-p /boot/efi", "mount /dev/sda15 /boot/efi"]
    assert without.commands == ["mount /dev/sda1 /"]


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
