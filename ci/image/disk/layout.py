"""The disk that an image is built on: the base's content, grown in place, on this machine and without an appliance.

virt-resize is not used: it renumbers the partitions of Ubuntu's cloud images (14, 15, 1 become 1, 2, 3), and grub
no longer finds its own. https://github.com/giovtorres/kvm-install-vm/issues/20
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.host.appliance.guestfish import Guestfish
from ci.host.errors import BaseImageError, ToolError, ToolTimeoutError
from ci.host.process import Argument, run
from ci.host.qcow2 import SECTOR_BYTES
from ci.image.definition import OperatingSystem
from ci.image.disk.root_files import RootFiles

DISK = "/dev/sda"  # to guestfish; to a program in the appliance it may be another
SECONDS = 600
OS_RELEASE = "/etc/os-release"
FSTAB = "/etc/fstab"
EFI = "/boot/efi"
SMALL_FILE_BYTES = 1 << 16
ESP_TYPE = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
BASE_HINT = "Use a cloud image with a GPT disk whose last partition is an ext4 root, such as Ubuntu's or Debian's."


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition: sizes in sectors, `kind` is its GPT type, `holds` the file system blkid finds.

    `uuid` and `name`, its label, are those of the file system.
    """

    number: int
    start: int
    size: int
    kind: str
    holds: str
    uuid: str
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A partition table; `label` is gpt, dos, or '' where there is none."""

    label: str
    partitions: tuple[Partition, ...]


# What is mounted where in the appliance, as it was before the root grew; of /boot and /boot/efi only what there is.
Layout = dict[str, Partition]


def read_table(disk: Path) -> Table:
    """The partitions of a raw disk, and what is on them."""
    try:
        described = json.loads(run(["sfdisk", "--json", disk], timeout=SECONDS).stdout)["partitiontable"]
    except ToolTimeoutError:
        raise
    except ToolError:  # it knows no such table
        return Table(label="", partitions=())
    found = {entry["node"]: parse_blkid(_blkid(disk, entry)) for entry in described.get("partitions", [])}
    return parse_table(described, os.fspath(disk), found)


def parse_table(described: Mapping[str, Any], disk: str, found: Mapping[str, Mapping[str, str]]) -> Table:
    """The table from sfdisk's description and, by its names for the partitions, blkid's findings."""
    partitions = [
        Partition(
            number=int(re.sub(r"\D", "", entry["node"].removeprefix(disk))),
            start=entry["start"],
            size=entry["size"],
            kind=entry.get("type", ""),
            holds=found[entry["node"]].get("TYPE", ""),
            uuid=found[entry["node"]].get("UUID", ""),
            name=found[entry["node"]].get("LABEL", ""),
        )
        for entry in described.get("partitions", [])
    ]
    return Table(label=described.get("label", ""), partitions=tuple(partitions))


def parse_blkid(output: str) -> dict[str, str]:
    """NAME=value lines of `blkid -o export`."""
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


def root_files(disk: Path, partition: Partition, work: Path) -> RootFiles:
    """The files of a partition of a raw disk."""
    return RootFiles(f"{disk.absolute()}?offset={partition.start * SECTOR_BYTES}", work)


def roots(disk: Path, table: Table, work: Path) -> Iterator[tuple[Partition, str]]:
    """The partitions that have the root of a system, each with its /etc/os-release."""
    for partition in table.partitions:
        if partition.holds == "ext4" and (text := read_text(disk, partition, OS_RELEASE, work)) is not None:
            yield partition, text


def read_text(disk: Path, partition: Partition, path: str, work: Path) -> str | None:
    """A small file of a partition; None where it is not there."""
    read = root_files(disk, partition, work).read([path], limit=SMALL_FILE_BYTES, total=SMALL_FILE_BYTES)
    return read[path].decode(errors="replace") if path in read else None


def find_root(disk: Path, table: Table, expected: OperatingSystem, work: Path) -> Partition:
    """The partition with the root file system; raises BaseImageError where there is none, or another system's."""
    for partition, os_release in roots(disk, table, work):
        check_os(parse_os_release(os_release), expected)
        return partition
    found = ", ".join(f"partition {one.number} {one.holds or 'unknown'}" for one in table.partitions) or "no partitions"
    raise BaseImageError(f"the base image has no ext4 root file system (found: {found})", hint=BASE_HINT)


def find_boot(table: Table, fstab: str) -> Partition | None:
    """The partition that the base's fstab mounts at /boot, as Ubuntu's does since 24.04; None where it mounts none.

    Raises BaseImageError where that is none which can be used here.
    """
    source = parse_fstab(fstab).get("/boot")
    if source is None:
        return None
    for partition in table.partitions:
        if partition.holds == "ext4" and source in {f"LABEL={partition.name}", f"UUID={partition.uuid}"}:
            return partition
    raise BaseImageError(
        f"the base image mounts {source} at /boot, which is none of its ext4 file systems", hint=BASE_HINT
    )


def parse_fstab(text: str) -> dict[str, str]:
    """What is mounted where, by place, from an fstab(5) file."""
    rows = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {row[1]: row[0] for row in rows if len(row) > 2}


def require_growable(table: Table, root: Partition) -> None:
    """Raise BaseImageError where the root cannot grow to the end of the disk."""
    if table.label != "gpt":
        raise BaseImageError("the base image's partition table is not GPT", hint=BASE_HINT)
    if root.start != max(partition.start for partition in table.partitions):
        raise BaseImageError("the base image's root is not its last partition and cannot grow", hint=BASE_HINT)


def grow_root(disk: Path, root: Partition, size: int, work: Path) -> None:
    """Make a raw disk `size` bytes long, and the root partition and its file system fill it; numbers stay."""
    if disk.stat().st_size > size:
        raise BaseImageError(
            f"the base image's disk has {disk.stat().st_size >> 20} MiB, the image definition allows {size >> 20}",
            hint="Make `disk.size_gib` in the definition larger.",
        )
    _extend(disk, root.number, size, work)
    (grown,) = (one for one in read_table(disk).partitions if one.number == root.number)
    start, length = grown.start * SECTOR_BYTES, grown.size * SECTOR_BYTES // 4096 * 4096
    # resize2fs cuts a file off after the file system's length, wherever it begins; a shorter one grows as it needs.
    os.truncate(disk, length)
    device = f"{disk}?offset={start}"
    run(["e2fsck", "-f", "-p", device], timeout=SECONDS, ok=(0, 1))  # 1: it corrected something
    run(["resize2fs", device, f"{length // 1024}K"], timeout=SECONDS)
    _extend(disk, root.number, size, work)


def _extend(disk: Path, number: int, size: int, work: Path) -> None:
    """Make the disk `size` bytes long, and a partition as large as it can be."""
    os.truncate(disk, size)
    change = work / "sfdisk"
    change.write_text(", +\n", encoding="ascii")
    sfdisk: list[Argument] = ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "-N", str(number), disk]
    run(sfdisk, stdin=change, timeout=SECONDS)


def appliance_layout(table: Table, root: Partition, fstab: str) -> Layout:
    """What is mounted where: the EFI partition where an update of the boot loader looks for it."""
    boot = find_boot(table, fstab)
    esp = next((one for one in table.partitions if one.kind == ESP_TYPE and one.holds == "vfat"), None)
    return {place: one for place, one in (("/", root), ("/boot", boot), (EFI, esp)) if one}


def mount(guest: Guestfish, layout: Layout) -> None:
    """Mount all of it in the appliance."""
    for place, partition in layout.items():
        if place == EFI:
            guest.command("mkdir-p", place)
        guest.command("mount", f"{DISK}{partition.number}", place)


def parse_os_release(text: str) -> dict[str, str]:
    """The assignments of an os-release(5) file."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {name: value.strip().strip("\"'") for name, value in pairs}


def check_os(found: Mapping[str, str], expected: OperatingSystem) -> None:
    """Raise BaseImageError where the system is not the one the definition is for."""
    name = f"{found.get('ID')} {found.get('VERSION_ID')}"
    if name != f"{expected.id} {expected.version_id}":
        raise BaseImageError(
            f"the base image is {name}, the image definition expects {expected.id} {expected.version_id}",
            hint="Choose the matching image with --image, or correct the base's URL.",
        )


def _blkid(disk: Path, entry: Mapping[str, int]) -> str:
    place = ["--offset", str(entry["start"] * SECTOR_BYTES), "--size", str(entry["size"] * SECTOR_BYTES)]
    # 2: there is nothing; 8: more than one thing.
    return run(["blkid", "--probe", *place, "--output", "export", disk], timeout=SECONDS, ok=(0, 2, 8)).stdout
