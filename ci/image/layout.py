"""Where the root file system of a base image is, and growing it in place.

virt-resize is not used: it renumbers the partitions of Ubuntu's cloud images (14, 15, 1 become 1, 2, 3), and grub
no longer finds its own. https://github.com/giovtorres/kvm-install-vm/issues/20
"""

import re
from dataclasses import dataclass

from ci.host.errors import BaseImageError, BuildError
from ci.image.definition import OperatingSystem
from ci.image.guestfish import Guestfish

DISK = "/dev/sda"
GPT_BACKUP_SECTORS = 34
BASE_HINT = "Use a cloud image with a GPT disk whose last partition is an ext4 root, such as Ubuntu's or Debian's."


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Device names in the appliance; `esp` is '' where there is no EFI system partition."""

    root: str
    esp: str


def find_layout(guest: Guestfish, expected: OperatingSystem) -> Layout:
    """Find the root file system and check that it is `expected`; raises BaseImageError where it is not usable."""
    types = {partition: _type_of(guest, partition) for partition in guest.lines("list-partitions")}
    root = next((partition for partition, kind in types.items() if kind == "ext4" and _is_root(guest, partition)), None)
    if root is None:
        found = ", ".join(f"{name} {kind or 'unknown'}" for name, kind in types.items()) or "no partitions"
        raise BaseImageError(f"the base image has no ext4 root file system (found: {found})", hint=BASE_HINT)
    _check_os(guest, root, expected)
    esp = next((partition for partition, kind in types.items() if kind == "vfat"), "")
    return Layout(root=root, esp=esp)


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


def _type_of(guest: Guestfish, partition: str) -> str:
    return guest.command("vfs-type", partition).strip()


def _is_root(guest: Guestfish, partition: str) -> bool:
    guest.command("mount-ro", partition, "/")
    try:
        return guest.command("exists", "/etc/os-release").strip() == "true"
    finally:
        guest.command("umount-all")


def _check_os(guest: Guestfish, root: str, expected: OperatingSystem) -> None:
    guest.command("mount-ro", root, "/")
    try:
        found = parse_os_release(guest.command("cat", "/etc/os-release"))
    except BuildError as error:
        raise BaseImageError("the base image's /etc/os-release cannot be read", hint=BASE_HINT) from error
    guest.command("umount-all")
    name = f"{found.get('ID')} {found.get('VERSION_ID')}"
    if name != f"{expected.id} {expected.version_id}":
        raise BaseImageError(
            f"the base image is {name}, the image definition expects {expected.id} {expected.version_id}",
            hint="Choose the matching image with --image, or correct the base's URL.",
        )
