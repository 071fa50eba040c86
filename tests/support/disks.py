"""Small disks with what dpkg leaves on a root file system, for tests that read images."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ci.host.process import run
from ci.records.packages import Package

SECTOR = 512
FIRST_SECTOR = 2048
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'


def noise(size: int) -> bytes:
    """Bytes that mean nothing and cannot be compressed; always the same, as random ones mean something at times."""
    return hashlib.shake_256(b"noise").digest(size)


def compression(image: Path) -> object:
    """How a QCOW2 image is compressed, by qemu-img's own account."""
    described = json.loads(run(["qemu-img", "info", "-f", "qcow2", "--output=json", image], timeout=60).stdout)
    return described["format-specific"]["data"]["compression-type"]


def stanza(package: Package, *lines: str, status: str = "install ok installed") -> str:
    """A package as dpkg's status file has it."""
    return "\n".join([
        f"Package: {package.name}", f"Status: {status}", "Priority: optional", "Section: admin",
        f"Installed-Size: {package.installed_kib}", "Maintainer: Some Body <some.body@example.org>",
        f"Architecture: {package.architecture}", f"Version: {package.version}", *lines,
        "Description: a package", " with a long text", " .", " in several lines", "",
    ])  # fmt: skip


def debian_tree(folder: Path, packages: Iterable[Package]) -> Path:
    """The files of a root file system with these packages; /etc/os-release is a link, as it is everywhere."""
    info = folder / "var/lib/dpkg/info"
    for path in (info, folder / "etc", folder / "usr/lib"):
        path.mkdir(parents=True)
    (folder / "usr/lib/os-release").write_text(OS_RELEASE)
    (folder / "etc/os-release").symlink_to("../usr/lib/os-release")
    packages = tuple(packages)
    (folder / "var/lib/dpkg/status").write_text("\n".join(stanza(package) for package in packages))
    for package in packages:
        (info / f"{package.name}.list").write_text(f"/.\n/usr/share/doc/{package.name}/copyright\n")
        document = folder / f"usr/share/doc/{package.name}/copyright"
        document.parent.mkdir(parents=True)
        document.write_text("This package was put together by hand.\n")
    return folder


def make_disk(disk: Path, *trees: Path | None, mib: int = 16, features: Sequence[str] = ()) -> list[int]:
    """A raw disk with a partition for each tree, ext4 with its files; None stays empty. Returns where each begins."""
    sectors = (mib << 20) // SECTOR
    starts = [FIRST_SECTOR + number * sectors for number in range(len(trees))]
    table = disk.with_suffix(".table")
    table.write_text("label: gpt\n" + "".join(f"start={start}, size={sectors}\n" for start in starts))
    with disk.open("wb") as file:
        file.truncate((len(trees) * mib + 4) << 20)
    run(["sfdisk", "--quiet", disk], stdin=table, timeout=60)
    table.unlink()
    for start, tree in zip(starts, trees, strict=True):
        if tree is not None:
            options = ["-O", ",".join(["extent", *features]), "-E", f"offset={start * SECTOR}"]
            run(["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", tree, disk, f"{mib << 10}k"], timeout=60)
    return [start * SECTOR for start in starts]


def make_image(image: Path, *trees: Path | None, mib: int = 16) -> Path:
    """The same as a compressed QCOW2."""
    disk = image.with_suffix(".raw")
    make_disk(disk, *trees, mib=mib)
    return compress(disk, image)


def compress(disk: Path, image: Path) -> Path:
    """The raw `disk`, which is gone then, as a compressed QCOW2."""
    run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", disk, image], timeout=60)
    disk.unlink()
    return image
