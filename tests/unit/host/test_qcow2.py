import struct
from pathlib import Path

import pytest

from ci.host import qcow2


def header(
    *, version: int = 3, backing: int = 0, encryption: int = 0, snapshots: int = 0, incompatible: int = 0
) -> bytes:
    return struct.pack(
        ">4sIQIIQIIQQIIQQ",
        b"QFI\xfb",
        version,
        backing,
        0,
        16,
        1 << 30,
        encryption,
        1,
        0,
        0,
        1,
        snapshots,
        0,
        incompatible,
    )


def test_a_plain_header_has_no_problem() -> None:
    assert qcow2.header_problems(header()) == []


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        (header(backing=0x200), "a backing file"),
        (header(encryption=2), "encryption"),
        (header(snapshots=1), "internal snapshots"),
        (header(incompatible=0b100), "an external data file"),
        (header(incompatible=0b10), "the mark of a corrupt image"),
        (header(version=2, backing=0x200), "a backing file"),
        (header(version=1), "the unknown version 1"),
        (header()[:60], "an incomplete header"),
    ],
)
def test_each_obstacle_is_named(start: bytes, problem: str) -> None:
    assert qcow2.header_problems(start) == [problem]


def test_all_obstacles_are_named_at_once() -> None:
    assert len(qcow2.header_problems(header(backing=1, snapshots=1, incompatible=0b110))) == 4


@pytest.mark.parametrize("incompatible", [0b1, 0b1000, 0b10000])
def test_unclean_compressed_and_extended_images_are_no_problem(incompatible: int) -> None:
    assert qcow2.header_problems(header(incompatible=incompatible)) == []


def test_an_old_header_ends_before_the_features() -> None:
    assert qcow2.header_problems(header(version=2, incompatible=0b110)) == []


def test_the_format_is_always_named() -> None:
    assert qcow2.info_argv(Path("/a"), "raw") == ["qemu-img", "info", "-f", "raw", "--output=json", "/a"]
    assert qcow2.check_argv(Path("/a")) == ["qemu-img", "check", "-q", "-f", "qcow2", "/a"]
    assert qcow2.overlay_argv(Path("/b"), "raw", Path("/o"), 5) == [
        *["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/b", "-F", "raw", "/o", "5"]
    ]


def test_an_image_ships_compressed_with_zstd() -> None:
    assert qcow2.convert_argv(Path("/a"), "qcow2", Path("/b")) == [
        *["qemu-img", "convert", "-p", "-U", "-c", "-f", "qcow2", "-O", "qcow2"],
        *["-o", "compression_type=zstd,compat=1.1", "/a", "/b"],
    ]


def test_a_name_is_never_a_protocol() -> None:
    assert qcow2.info_argv(Path("json:{}"), "raw")[-1].startswith("/")


def test_the_format_is_read_from_the_magic_alone(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(header())
    (tmp_path / "b.qcow2").write_bytes(b"\0" * 512)
    assert qcow2.disk_format(tmp_path / "a.raw") is qcow2.DiskFormat.QCOW2
    assert qcow2.disk_format(tmp_path / "b.qcow2") is qcow2.DiskFormat.RAW
