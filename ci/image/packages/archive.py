"""A package archive with just what one build installs, on a disk of its own, for apt in the appliance.

The files in it are those of the distribution's archive but for one thing: what is packed with xz is unpacked here, in a
fraction of the time that the appliance needs without KVM. https://manpages.debian.org/deb.5
"""

import lzma
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO, cast

from debian.arfile import ArFile
from debian.deb822 import Packages

from ci.host.files import sha256_file
from ci.host.process import run
from ci.image.packages.transaction import POLICY

# Where the guest has it; see build/provision/provision.sh, and appliance.conf.
MOUNT_POINT = "/var/lib/fountainkit-build/archive"
SECONDS = 300
MIB = 1 << 20
MAGIC = b"!<arch>\n"
# Of the entries: what no longer is true of our files, and what would let the base's machine-id decide.
# https://wiki.ubuntu.com/PhasedUpdates
LEFT_OUT = ("MD5sum", "SHA1", "SHA512", "Phased-Update-Percentage")

SOURCES = f"deb [trusted=yes] file:{MOUNT_POINT} ./\n"  # what is in it was verified by apt on this machine
CONFIGURATION = f"{POLICY}\n{Path(__file__).with_name('appliance.conf').read_text(encoding='utf-8')}"


def make_archive(files: Sequence[Path], described: str, image: Path, work: Path) -> None:
    """Write the archive of the package `files` into `image`, an ext4 file system; `described` are their entries."""
    folder = work / "archive"
    folder.mkdir()
    for file in files:
        repack(file, folder / file.name)
    (folder / "Packages").write_text(index(described, folder, [file.name for file in files]), encoding="utf-8")
    (folder / "sources.list").write_text(SOURCES, encoding="utf-8")
    (folder / "apt.conf").write_text(CONFIGURATION, encoding="utf-8")
    content = sum(path.stat().st_size + 4096 for path in folder.iterdir())
    size = (content * 11 // 10 + 16 * MIB) // MIB
    run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", folder, image, f"{size}M"],
        timeout=SECONDS,
    )
    shutil.rmtree(folder)


def index(described: str, folder: Path, names: Iterable[str]) -> str:
    """A Packages file: the entries of the distribution's, with the size and the digest of our files."""
    entries = []
    known = set(names)
    for entry in Packages.iter_paragraphs(described, use_apt_pkg=False):
        name = f"{entry['Package']}_{entry['Version'].replace(':', '%3a')}_{entry['Architecture']}.deb"
        if name not in known:
            continue
        known.remove(name)
        path = folder / name
        entry["Filename"], entry["Size"], entry["SHA256"] = f"./{name}", str(path.stat().st_size), sha256_file(path)
        for field in LEFT_OUT:
            entry.pop(field, None)
        entries.append(str(entry))
    if known:
        raise AssertionError(f"apt has files of packages that it does not describe: {sorted(known)}")
    return "\n".join(entries)


def repack(source: Path, target: Path) -> None:
    """Copy a package file, with its parts unpacked that are packed with xz."""
    with source.open("rb") as file, target.open("wb") as output:
        output.write(MAGIC)
        for member in ArFile(fileobj=file).getmembers():
            packed = cast("IO[bytes]", member)  # it has what is used of a binary file
            with lzma.open(packed) if member.name.endswith(".xz") else nullcontext(packed) as content:
                _append(output, member.name.removesuffix(".xz"), content)


def _append(output: IO[bytes], name: str, content: IO[bytes]) -> None:
    header = output.tell()
    output.write(_header(name, 0))
    shutil.copyfileobj(content, output, MIB)
    size = output.tell() - header - len(_header(name, 0))
    if size % 2:
        output.write(b"\n")
    output.seek(header)
    output.write(_header(name, size))
    output.seek(0, os.SEEK_END)


def _header(name: str, size: int) -> bytes:
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{size:<10}`\n".encode("ascii")
