"""Files of an image's root file system, read on this machine: neither an appliance nor a mount is needed for it.

debugfs reads ext4 from a raw image; what comes out is data, whoever wrote it. https://man7.org/linux/man-pages/man8/debugfs.8.html
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from ci.host.errors import BaseImageError, ToolError
from ci.host.process import run
from ci.image import qcow2
from ci.image.layout import BASE_HINT

SECONDS = 300
OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")  # the one may be a link to the other


def copy_out(image: Path, paths: Sequence[str], target: Path, work: Path) -> None:
    """Copy the files and folders `paths` of the image's root to their places below `target`; absent ones are left out.

    `work` is a folder with room for the image's content. Links are not copied: they lead to where the image's maker
    wants. Raises BaseImageError where there is no ext4 file system with an os-release(5).
    """
    raw = work / "root-files.raw"
    disk_format = qcow2.disk_format(image)
    if disk_format is qcow2.DiskFormat.RAW:
        device = image.absolute()
    else:
        qcow2.convert_raw(image, raw)
        device = raw
    try:
        _copy(device, _find_root(device, work), paths, target)
    finally:
        raw.unlink(missing_ok=True)


def partition_offsets(table: str) -> list[int]:
    """Where the partitions begin, in bytes, the largest first, from `sfdisk --json`."""
    described = json.loads(table)["partitiontable"]
    partitions = sorted(described["partitions"], key=lambda partition: -partition["size"])
    return [partition["start"] * described.get("sectorsize", qcow2.SECTOR_BYTES) for partition in partitions]


def script(paths: Sequence[str], target: Path) -> str:
    """The commands for debugfs that copy `paths` below `target`, whose folders are there."""
    return "".join(f"rdump {quote(path)} {quote(str(target / path.strip('/')).rpartition('/')[0])}\n" for path in paths)


def quote(word: str) -> str:
    """`word` for debugfs, which knows double quotes and doubles one to mean it."""
    return '"' + word.replace('"', '""') + '"'


def _find_root(device: Path, work: Path) -> int:
    try:
        table = run(["sfdisk", "--json", device], timeout=SECONDS).stdout
    except ToolError:
        offsets = []
    else:
        offsets = partition_offsets(table)
    for offset in offsets:
        probe = work / "os-release"
        _debugfs(device, offset, "".join(f"dump {path} {quote(os.fspath(probe))}\n" for path in OS_RELEASE), work)
        found = probe.exists() and probe.stat().st_size > 0
        probe.unlink(missing_ok=True)
        if found:
            return offset
    raise BaseImageError("the base image has no ext4 root file system", hint=BASE_HINT)


def _copy(device: Path, offset: int, paths: Sequence[str], target: Path) -> None:
    for path in paths:
        (target / path.strip("/")).parent.mkdir(parents=True, exist_ok=True)
    _debugfs(device, offset, script(paths, target), target)
    for folder, folders, files in os.walk(target, followlinks=False):
        for name in (*folders, *files):
            entry = Path(folder, name)
            if entry.is_symlink():
                entry.unlink()


def _debugfs(device: Path, offset: int, commands: str, work: Path) -> None:
    file = work / ".debugfs"
    file.write_text(commands, encoding="utf-8")
    # 1: something is not there.
    run(["debugfs", "-f", file, f"{device}?offset={offset}"], timeout=SECONDS, ok=(0, 1))
    file.unlink()
