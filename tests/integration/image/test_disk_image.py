"""Disk images, checked and converted by the real qemu-img."""

import os
from pathlib import Path

import pytest

from ci.host import process, qcow2
from ci.host.errors import BaseImageError
from tests.support.disks import compression, noise

pytestmark = pytest.mark.integration


def qemu_img(*arguments: str | Path) -> None:
    process.run(["qemu-img", *arguments], timeout=60)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A raw disk with a boot signature and a megabyte of data."""
    path = tmp_path / "disk.raw"
    path.write_bytes(b"\0" * 510 + b"\x55\xaa" + noise(1 << 20) + b"\0" * (4 << 20))
    return path


@pytest.fixture
def image(tmp_path: Path, raw: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    qcow2.convert_compressed(raw, path, source_format="raw")
    return path


class TestCheckDiskImage:
    def test_a_compressed_qcow2_is_accepted(self, image: Path, raw: Path) -> None:
        qcow2.check_disk_image(image)
        assert qcow2.virtual_size(image) == raw.stat().st_size
        assert compression(image) == "zstd"

    def test_the_old_version_that_ubuntu_publishes_is_accepted(self, raw: Path, tmp_path: Path) -> None:
        old = tmp_path / "old.img"
        qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compat=0.10", raw, old)
        qcow2.check_disk_image(old)
        assert qcow2.virtual_size(old) == raw.stat().st_size

    def test_a_raw_disk_with_a_partition_table_is_accepted(self, raw: Path) -> None:
        qcow2.check_disk_image(raw)
        assert qcow2.disk_format(raw) is qcow2.DiskFormat.RAW

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"just a text\n" * 1000, "neither"),
            (b"<html>" * 1000, "a web page"),
            (b"\x1f\x8b\x08" + noise(5000), "a gzip archive"),
            (b"short", "neither"),
            (b"", "empty"),
            (b"QFI\xfb\0\0\0\x03", "incomplete header"),
            (b"QFI\xfb\0\0\0\x09" + b"\0" * 600, "unknown version 9"),
        ],
    )
    def test_what_is_no_disk_image_is_refused(self, tmp_path: Path, content: bytes, words: str) -> None:
        path = tmp_path / "fake.img"
        path.write_bytes(content)
        with pytest.raises(BaseImageError, match=words):
            qcow2.check_disk_image(path)

    def test_a_backing_file_is_refused(self, tmp_path: Path, image: Path) -> None:
        overlay = tmp_path / "overlay.qcow2"
        qcow2.create_overlay(image, overlay, 1 << 30)
        with pytest.raises(BaseImageError, match="a backing file"):
            qcow2.check_disk_image(overlay)

    def test_an_external_data_file_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "split.qcow2"
        qemu_img("create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data.raw'}", path, "10M")
        with pytest.raises(BaseImageError, match="an external data file"):
            qcow2.check_disk_image(path)

    def test_internal_snapshots_are_refused(self, image: Path) -> None:
        qemu_img("snapshot", "-c", "before", image)
        with pytest.raises(BaseImageError, match="internal snapshots"):
            qcow2.check_disk_image(image)

    def test_encryption_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "secret.qcow2"
        options = "encrypt.format=aes,encrypt.key-secret=s"  # luks times itself, and fails on a busy machine
        qemu_img("create", "-f", "qcow2", "--object", "secret,id=s,data=x", "-o", options, path, "10M")
        with pytest.raises(BaseImageError, match="encryption"):
            qcow2.check_disk_image(path)

    def test_the_mark_of_a_corrupt_image_is_refused(self, image: Path) -> None:
        with image.open("r+b") as file:
            file.seek(79)
            file.write(b"\x02")
        with pytest.raises(BaseImageError, match="the mark of a corrupt image"):
            qcow2.check_disk_image(image)

    @pytest.mark.parametrize("size", [600, 100_000, 500_000])
    def test_a_truncated_qcow2_is_refused(self, image: Path, size: int) -> None:
        os.truncate(image, size)
        with pytest.raises(BaseImageError, match="damaged or cut off"):
            qcow2.check_disk_image(image)


class TestConversions:
    def test_an_overlay_is_larger_than_its_base_and_leaves_it_alone(self, tmp_path: Path, image: Path) -> None:
        before = image.read_bytes()
        overlay = tmp_path / "overlay.qcow2"
        qcow2.create_overlay(image, overlay, 20 << 30)
        qemu_img("bench", "-w", "-c", "10", "-f", "qcow2", overlay)
        assert qcow2.virtual_size(overlay) == 20 << 30
        assert image.read_bytes() == before

    def test_a_converted_overlay_stands_alone(self, tmp_path: Path, raw: Path) -> None:
        overlay, complete, back = (tmp_path / name for name in ("overlay.qcow2", "complete.qcow2", "back.raw"))
        qcow2.create_overlay(raw, overlay, raw.stat().st_size)
        qcow2.convert_compressed(overlay, complete)
        qcow2.check_disk_image(complete)
        qemu_img("convert", "-f", "qcow2", "-O", "raw", complete, back)
        assert back.read_bytes() == raw.read_bytes()

    def test_a_name_with_a_colon_is_a_name(self, tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        image.rename(tmp_path / "json:x.qcow2")
        monkeypatch.chdir(tmp_path)
        qcow2.check_disk_image(Path("json:x.qcow2"))
