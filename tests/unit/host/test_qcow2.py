import struct
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from pytest_mock import MockerFixture

from ci.host import process, qcow2
from ci.host.process import Completed


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


@pytest.fixture
def ran(mocker: MockerFixture) -> MagicMock:
    done = Completed(argv=(), returncode=0, stdout='{"virtual-size": 1}', stderr="", seconds=0)
    return mocker.patch.object(process, "run", return_value=done)


def words(ran: MagicMock) -> str:
    return " ".join(ran.call_args.args[0])


def test_the_format_is_always_named_and_a_name_is_never_a_protocol(
    tmp_path: Path, ran: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = Path("json:{}")
    base.write_bytes(b"\0" * 512)
    assert qcow2.virtual_size(base) == 1
    assert words(ran) == f"qemu-img info -f raw --output=json {tmp_path}/json:{{}}"
    qcow2.create_overlay(base, Path("/o"), 5)
    assert words(ran) == f"qemu-img create -q -f qcow2 -b {tmp_path}/json:{{}} -F raw /o 5"
    qcow2.convert_to_raw(base, Path("/o"))
    assert words(ran) == f"qemu-img convert -p -m 16 -W -f qcow2 -O raw {tmp_path}/json:{{}} /o"


def test_an_image_ships_compressed_with_zstd(ran: MagicMock) -> None:
    qcow2.convert_compressed(Path("/a"), Path("/b"))
    how = "-U -c -o compression_type=zstd,compat=1.1"
    assert words(ran) == f"qemu-img convert -p {how} -f qcow2 -O qcow2 /a /b"


def test_the_format_is_read_from_the_magic_alone(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(header())
    (tmp_path / "b.qcow2").write_bytes(b"\0" * 512)
    assert qcow2.disk_format(tmp_path / "a.raw") is qcow2.DiskFormat.QCOW2
    assert qcow2.disk_format(tmp_path / "b.qcow2") is qcow2.DiskFormat.RAW
