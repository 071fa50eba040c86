import io
import lzma
import tarfile
from pathlib import Path

import pytest
from debian.arfile import ArFile
from debian.deb822 import Packages
from debian.debfile import DebFile

from ci.host.files import sha256_file
from ci.image.packages import archive

NAME = "git_1%3a2.0_all.deb"
ENTRY = """\
Package: git
Version: 1:2.0
Architecture: all
Depends: libc6
Filename: pool/main/g/git.deb
Size: 1
MD5sum: 0
SHA256: 0
Phased-Update-Percentage: 20
Description: a
 b
"""


def tar(*files: tuple[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as writer:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            writer.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def ar(*members: tuple[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, data in members:
        parts += [f"{name:<16}{1700000000:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode(), data]
        parts += [b"\n"] if len(data) % 2 else []
    return b"".join(parts)


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    control = tar(("./control", b"Package: git\nVersion: 1:2.0\n"))
    data = tar(("./usr/bin/git", b"binary" * 1001))
    path.write_bytes(
        ar(
            ("debian-binary", b"2.0\n"),
            ("control.tar.xz", lzma.compress(control)),
            ("data.tar.xz", lzma.compress(data)),
        )
    )
    return path


def test_a_package_has_the_same_content_without_its_xz(deb: Path, tmp_path: Path) -> None:
    target = tmp_path / "plain.deb"
    archive.repack(deb, target)
    with target.open("rb") as file:
        assert [member.name for member in ArFile(fileobj=file).getmembers()] == [
            "debian-binary", "control.tar", "data.tar",
        ]  # fmt: skip
    with target.open("rb") as file:
        package = DebFile(fileobj=file)
        assert package.debcontrol()["Package"] == "git"
        assert package.data.get_content("usr/bin/git") == b"binary" * 1001


@pytest.mark.parametrize("kind", ["zst", "gz"])
def test_what_is_packed_otherwise_is_copied(kind: str, tmp_path: Path) -> None:
    source, target = tmp_path / "a.deb", tmp_path / "b.deb"
    source.write_bytes(ar(("debian-binary", b"2.0\n"), (f"data.tar.{kind}", b"odd")))
    archive.repack(source, target)
    with target.open("rb") as file:
        members = ArFile(fileobj=file).getmembers()
        assert [(member.name, member.read()) for member in members] == [
            ("debian-binary", b"2.0\n"), (f"data.tar.{kind}", b"odd"),
        ]  # fmt: skip


def test_the_same_package_gives_the_same_bytes(deb: Path, tmp_path: Path) -> None:
    archive.repack(deb, tmp_path / "1")
    archive.repack(deb, tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_the_index_speaks_of_our_files_and_keeps_the_rest(deb: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    archive.repack(deb, folder / NAME)
    text = archive.index(f"{ENTRY}\n{ENTRY.replace('1:2.0', '1:1.9')}", folder, [NAME])
    (entry,) = Packages.iter_paragraphs(text, use_apt_pkg=False)
    assert (entry["Filename"], entry["Depends"]) == (f"./{NAME}", "libc6")
    assert (entry["Size"], entry["SHA256"]) == (str((folder / NAME).stat().st_size), sha256_file(folder / NAME))
    assert "MD5sum" not in entry


def test_no_update_is_held_back_from_some_machines(deb: Path) -> None:
    assert "Phased-Update-Percentage: 20" in ENTRY
    assert "Phased" not in archive.index(ENTRY, deb.parent, [NAME])


def test_a_file_that_nobody_describes_is_a_bug(deb: Path) -> None:
    with pytest.raises(AssertionError, match="does not describe"):
        archive.index("", deb.parent, [NAME])
