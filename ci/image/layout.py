"""Where the root file system of a base image is, and growing it in place.

virt-resize is not used: it renumbers the partitions of Ubuntu's cloud images (14, 15, 1 become 1, 2, 3), and grub
no longer finds its own. https://github.com/giovtorres/kvm-install-vm/issues/20
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ci.host.errors import BaseImageError
from ci.image.definition import OperatingSystem
from ci.image.guestfish import Guestfish

DISK = "/dev/sda"
GPT_BACKUP_SECTORS = 34
BASE_HINT = "Use a cloud image with a GPT disk whose last partition is an ext4 root, such as Ubuntu's or Debian's."


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Device names in the appliance, and the UUIDs of what is on them; `esp` is '' where there is no EFI partition."""

    root: str
    root_uuid: str
    esp: str = ""
    esp_uuid: str = ""


def find_layout(guest: Guestfish, expected: OperatingSystem) -> Layout:
    """Find the root file system and check that it is `expected`; raises BaseImageError where it is not usable."""
    types = {partition: guest.command("vfs-type", partition).strip() for partition in guest.lines("list-partitions")}
    for partition, kind in types.items():
        if kind == "ext4" and (os_release := _os_release(guest, partition)) is not None:
            _check_os(os_release, expected)
            esp = next((other for other, kind in types.items() if kind == "vfat"), "")
            # Now, while nothing is mounted: the superblock of a mounted ext4 is in memory before its checksum is, and
            # blkid then finds no file system there.
            return Layout(
                root=partition, root_uuid=_uuid(guest, partition), esp=esp, esp_uuid=_uuid(guest, esp) if esp else ""
            )
    found = ", ".join(f"{name} {kind or 'unknown'}" for name, kind in types.items()) or "no partitions"
    raise BaseImageError(f"the base image has no ext4 root file system (found: {found})", hint=BASE_HINT)


def grow_root(guest: Guestfish, layout: Layout) -> None:
    """Make the root partition and its file system fill the disk, keeping every partition's number."""
    if guest.command("part-get-parttype", DISK).strip() != "gpt":
        raise BaseImageError("the base image's partition table is not GPT", hint=BASE_HINT)
    number = guest.command("part-to-partnum", layout.root).strip()
    ends = parse_partition_ends(guest.command("part-list", DISK))
    if ends[int(number)] != max(ends.values()):
        raise BaseImageError("the base image's root is not its last partition and cannot grow", hint=BASE_HINT)
    guest.command("part-expand-gpt", DISK)
    guest.command("part-resize", DISK, number, str(-GPT_BACKUP_SECTORS))
    guest.command("e2fsck", layout.root, "correct:true", timeout=600)
    guest.command("resize2fs", layout.root, timeout=600)


def mount(guest: Guestfish, layout: Layout) -> None:
    """Mount the root file system, and the EFI partition where an update of the boot loader looks for it."""
    guest.command("mount", layout.root, "/")
    if layout.esp:
        guest.command("mkdir-p", "/boot/efi")
        guest.command("mount", layout.esp, "/boot/efi")


def parse_partition_ends(part_list: str) -> dict[int, int]:
    """Partition number to last byte, from guestfish's `part-list`."""
    numbers = re.findall(r"part_num: (\d+)", part_list)
    ends = re.findall(r"part_end: (\d+)", part_list)
    return {int(number): int(end) for number, end in zip(numbers, ends, strict=True)}


def parse_os_release(text: str) -> dict[str, str]:
    """The assignments of an os-release(5) file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip().strip("\"'") for name, value in pairs}


def _uuid(guest: Guestfish, partition: str) -> str:
    return guest.command("vfs-uuid", partition).strip()


def _os_release(guest: Guestfish, partition: str) -> dict[str, str] | None:
    guest.command("mount-ro", partition, "/")
    exists = guest.command("exists", "/etc/os-release").strip() == "true"
    text = guest.command("cat", "/etc/os-release") if exists else ""
    guest.command("umount-all")
    return parse_os_release(text) if exists else None


def _check_os(found: Mapping[str, str], expected: OperatingSystem) -> None:
    name = f"{found.get('ID')} {found.get('VERSION_ID')}"
    if name != f"{expected.id} {expected.version_id}":
        raise BaseImageError(
            f"the base image is {name}, the image definition expects {expected.id} {expected.version_id}",
            hint="Choose the matching image with --image, or correct the base's URL.",
        )
