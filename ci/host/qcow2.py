"""Disk images: what a file is, whether it can be built upon, and qemu-img's few jobs.

The format is always named, never probed: a raw image's first bytes belong to whoever wrote the disk.
"""

import json
import os
import struct
from enum import Enum
from pathlib import Path

from ci.host import process
from ci.host.errors import BaseImageError, ToolError, ToolTimeoutError

QUICK_SECONDS = 120
CONVERT_SECONDS = 3600
SECTOR_BYTES = 512
BOOT_SIGNATURE = b"\x55\xaa"  # ends the first sector of MBR and of GPT (its protective MBR) alike

# https://www.qemu.org/docs/master/interop/qcow2.html
QCOW2_MAGIC = b"QFI\xfb"
# version, backing file's offset, crypt method, number of snapshots, incompatible features (version 3 only)
QCOW2_HEADER = struct.Struct(">4x I Q 4x 4x 8x I 4x 8x 8x 4x I 8x Q")
CORRUPT = 1 << 1
EXTERNAL_DATA_FILE = 1 << 2

LOOKS_LIKE = {
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"\xfd7zXZ\0": "an xz archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it first",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"KDMV": "a VMDK image: convert it with `qemu-img convert -f vmdk -O qcow2`",
    b"vhdxfile": "a VHDX image: convert it with `qemu-img convert -f vhdx -O qcow2`",
    b"<": "a web page",
}


class DiskFormat(str, Enum):  # noqa: UP042 - Python 3.10 has no StrEnum
    """The formats a base image may have, by their name in QEMU."""

    __str__ = str.__str__

    QCOW2 = "qcow2"
    RAW = "raw"


def check_disk_image(path: Path) -> None:
    """Raise BaseImageError where the base image is not a whole, self-contained disk."""
    with path.open("rb") as file:
        start = file.read(SECTOR_BYTES)
    if start.startswith(QCOW2_MAGIC):
        # Before any tool opens it: what the header names, qemu-img would open (CVE-2024-4467).
        if problems := header_problems(start):
            raise BaseImageError(
                f"the base image {path} cannot be built upon: it has {', '.join(problems)}",
                hint="Make one self-contained image of it, where you trust it: "
                "`qemu-img convert -O qcow2 IMAGE complete.qcow2`.",
            )
    elif start[-len(BOOT_SIGNATURE) :] != BOOT_SIGNATURE or len(start) < SECTOR_BYTES:
        raise BaseImageError(
            f"the base image {path} is not a disk image: it is {_looks_like(start)}",
            hint="It must be a QCOW2 image, or a raw image with a partition table.",
        )
    try:
        if start.startswith(QCOW2_MAGIC):
            # `qemu-img info` is content with a truncated image; only `check`, which repairs nothing, follows the tables
            # to the end. 3: clusters nobody uses, which only waste space.
            check = ["qemu-img", "check", "-q", "-f", DiskFormat.QCOW2, _absolute(path)]
            process.run(check, timeout=QUICK_SECONDS, ok=(0, 3))
        virtual_size(path)
    except ToolTimeoutError:
        raise  # it says nothing about the image
    except ToolError as error:
        raise BaseImageError(
            f"the base image {path} is damaged or cut off",
            hint="Fetch it again, or ask its publisher: the file itself is broken.",
            details=error.details,
        ) from error


def header_problems(start: bytes) -> list[str]:
    """What keeps a QCOW2 image from being built upon, by the first bytes of the file."""
    if len(start) < QCOW2_HEADER.size:
        return ["an incomplete header"]
    version, backing, encryption, snapshots, features = QCOW2_HEADER.unpack_from(start)
    if version not in {2, 3}:
        return [f"the unknown version {version}"]
    if version == 2:
        features = 0  # its header ends before them
    checks = {
        "a backing file": backing,
        "an external data file": features & EXTERNAL_DATA_FILE,
        "encryption": encryption,
        "internal snapshots": snapshots,
        "the mark of a corrupt image": features & CORRUPT,
    }
    return [problem for problem, present in checks.items() if present]


def disk_format(path: Path) -> DiskFormat:
    """QCOW2 by its magic, else raw."""
    with path.open("rb") as file:
        return DiskFormat.QCOW2 if file.read(len(QCOW2_MAGIC)) == QCOW2_MAGIC else DiskFormat.RAW


def virtual_size(path: Path) -> int:
    """The bytes of the disk; raises ToolError where qemu-img cannot open the image. A backing file is not opened."""
    argv = ["qemu-img", "info", "-f", disk_format(path), "--output=json", _absolute(path)]
    return int(json.loads(process.run(argv, timeout=QUICK_SECONDS).stdout)["virtual-size"])


def create_overlay(base: Path, overlay: Path, size: int) -> None:
    """Make `overlay`, a QCOW2 of `size` bytes that starts as `base`, which stays as it is."""
    backing = ["-b", _absolute(base), "-F", disk_format(base)]
    argv = ["qemu-img", "create", "-q", "-f", DiskFormat.QCOW2, *backing, _absolute(overlay), str(size)]
    process.run(argv, timeout=QUICK_SECONDS)


def convert_compressed(source: Path, target: Path, *, source_format: str = DiskFormat.QCOW2) -> None:
    """Write the whole content of `source` to `target`, compressed and with no backing file."""
    # -U: without qemu-img's lock on the source, which an appliance that waits meanwhile may hold.
    _convert(source, source_format, target, DiskFormat.QCOW2, "-U", "-c", "-o", "compression_type=zstd,compat=1.1")


def convert_to_raw(source: Path, target: Path, *, source_format: str = DiskFormat.QCOW2) -> None:
    """Write the whole content of a disk to `target`, with holes where it is empty."""
    # Not in order, and with more requests at once than the default: nearly twice as fast.
    _convert(source, source_format, target, DiskFormat.RAW, "-m", "16", "-W")


def _convert(source: Path, source_format: str, target: Path, target_format: str, *how: str) -> None:
    # With -p it says how far it is, and is not taken for one that hangs.
    argv = ["qemu-img", "convert", "-p", *how, "-f", source_format, "-O", target_format]
    process.run([*argv, _absolute(source), _absolute(target)], timeout=CONVERT_SECONDS)


def _looks_like(start: bytes) -> str:
    for magic, description in LOOKS_LIKE.items():
        if start.lstrip().startswith(magic):
            return description
    return "neither a QCOW2 image nor a disk with a partition table" if start else "empty"


def _absolute(path: Path) -> str:
    # qemu-img takes a name with a colon before its first slash for a protocol, such as json: or nbd:.
    return os.fspath(path.absolute())
