from pathlib import Path

import pytest

from ci.host.errors import BaseImageError
from ci.image.definition import OperatingSystem
from ci.image.layout import Layout, find_layout, grow_root, mount, parse_os_release, parse_partition_ends
from tests.unit.image.scripted import Answer, ScriptedGuest

JAMMY = OperatingSystem(id="ubuntu", version_id="22.04")
OS_RELEASE = 'NAME="Ubuntu"\nVERSION_ID="22.04"\nID=ubuntu\nID_LIKE=debian\n'
PART_LIST = """\
[0] = {
  part_num: 1
  part_start: 116391936
  part_end: 2361376255
  part_size: 2244984320
}
[1] = {
  part_num: 14
  part_start: 1048576
  part_end: 5242879
  part_size: 4194304
}
[2] = {
  part_num: 15
  part_start: 5242880
  part_end: 116391935
  part_size: 111149056
}
"""
UBUNTU: dict[str, Answer] = {
    "list-partitions": "/dev/sda1\n/dev/sda14\n/dev/sda15\n",
    "vfs-type /dev/sda1": "ext4\n",
    "vfs-type /dev/sda14": "\n",
    "vfs-type /dev/sda15": "vfat\n",
    "vfs-uuid /dev/sda1": "4b3a9c8e-1111-2222-3333-444455556666\n",
    "vfs-uuid /dev/sda15": "A1B2-C3D4\n",
    "exists /etc/os-release": "true\n",
    "cat /etc/os-release": OS_RELEASE,
    "part-get-parttype /dev/sda": "gpt\n",
    "part-to-partnum /dev/sda1": "1\n",
    "part-list /dev/sda": PART_LIST,
}
UUID = "4b3a9c8e-1111-2222-3333-444455556666"
ROOT = Layout(root="/dev/sda1", root_uuid=UUID, esp="/dev/sda15", esp_uuid="A1B2-C3D4")


def test_ubuntus_layout_is_found() -> None:
    assert find_layout(ScriptedGuest(UBUNTU), JAMMY) == ROOT


def test_a_disk_without_an_efi_partition_has_no_esp() -> None:
    answers = UBUNTU | {"list-partitions": "/dev/sda1\n"}
    assert find_layout(ScriptedGuest(answers), JAMMY) == Layout(root="/dev/sda1", root_uuid=UUID)


def test_an_ext4_partition_that_is_no_root_is_passed_over() -> None:
    class WithBoot(ScriptedGuest):
        mounted = ""

        def command(self, name: str, *arguments: str | Path, timeout: float = 300) -> str:  # type: ignore[override]
            if name == "mount-ro":
                self.mounted = str(arguments[0])
            if name == "exists":
                return "true\n" if self.mounted == "/dev/sda2" else "false\n"
            return super().command(name, *arguments, timeout=timeout)

    guest = WithBoot(
        UBUNTU
        | {"list-partitions": "/dev/sda1\n/dev/sda2\n", "vfs-type /dev/sda2": "ext4\n", "vfs-uuid /dev/sda2": "2\n"}
    )
    assert find_layout(guest, JAMMY) == Layout(root="/dev/sda2", root_uuid="2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"list-partitions": ""}, "found: no partitions"),
        ({"exists /etc/os-release": "false\n"}, "found: /dev/sda1 ext4, /dev/sda14 unknown, /dev/sda15 vfat"),
        ({"vfs-type /dev/sda1": "xfs\n"}, "found: /dev/sda1 xfs,"),
        ({"vfs-type /dev/sda1": "crypto_LUKS\n"}, "found: /dev/sda1 crypto_LUKS,"),
        ({"cat /etc/os-release": OS_RELEASE.replace("22.04", "24.04")}, "is ubuntu 24.04, .* expects ubuntu 22.04"),
        ({"cat /etc/os-release": "ID=fedora\nVERSION_ID=41\n"}, "is fedora 41, .* expects ubuntu 22.04"),
        ({"cat /etc/os-release": ""}, "is None None"),
    ],
)
def test_a_base_that_cannot_be_used_is_told_with_what_was_found(changes: dict[str, Answer], message: str) -> None:
    with pytest.raises(BaseImageError, match=message) as caught:
        find_layout(ScriptedGuest(UBUNTU | changes), JAMMY)
    assert caught.value.hint


def test_looking_changes_nothing_on_the_disk() -> None:
    guest = ScriptedGuest(UBUNTU)
    find_layout(guest, JAMMY)
    looks = {"list-partitions", "vfs-type", "mount-ro", "exists", "cat", "umount-all", "vfs-uuid"}
    assert {command.split()[0] for command in guest.commands} == looks


def test_uuids_are_read_while_nothing_is_mounted() -> None:
    # blkid finds no file system on a mounted one whose superblock is just being changed.
    guest = ScriptedGuest(UBUNTU)
    find_layout(guest, JAMMY)
    names = [command.split()[0] for command in guest.commands]
    assert "vfs-uuid" not in names[names.index("mount-ro") : names.index("umount-all")]
    assert names[-2:] == ["vfs-uuid", "vfs-uuid"]


def test_the_root_grows_in_place_and_is_checked_before_it_is_resized() -> None:
    guest = ScriptedGuest(UBUNTU)
    grow_root(guest, ROOT)
    assert guest.commands[-4:] == [
        "part-expand-gpt /dev/sda",
        "part-resize /dev/sda 1 -34",
        "e2fsck /dev/sda1 correct:true",
        "resize2fs /dev/sda1",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"part-get-parttype /dev/sda": "msdos\n"}, "not GPT"),
        ({"part-to-partnum /dev/sda1": "15\n"}, "not its last partition"),
    ],
)
def test_a_disk_that_cannot_grow_is_left_alone(changes: dict[str, Answer], message: str) -> None:
    guest = ScriptedGuest(UBUNTU | changes)
    with pytest.raises(BaseImageError, match=message):
        grow_root(guest, ROOT)
    assert not {"part-expand-gpt", "part-resize", "resize2fs"} & {command.split()[0] for command in guest.commands}


def test_the_efi_partition_is_mounted_where_there_is_one() -> None:
    with_esp, without = ScriptedGuest(), ScriptedGuest()
    mount(with_esp, ROOT)
    mount(without, Layout(root="/dev/sda1", root_uuid=UUID))
    assert with_esp.commands == ["mount /dev/sda1 /", "mkdir-p /boot/efi", "mount /dev/sda15 /boot/efi"]
    assert without.commands == ["mount /dev/sda1 /"]


def test_partition_ends_are_read_by_number_not_by_place() -> None:
    assert parse_partition_ends(PART_LIST) == {1: 2361376255, 14: 5242879, 15: 116391935}
    assert parse_partition_ends("") == {}


def test_a_list_of_another_form_is_no_list() -> None:
    with pytest.raises(ValueError, match="shorter"):
        parse_partition_ends("part_num: 1\npart_num: 2\npart_end: 3\n")


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
