import struct
from dataclasses import replace
from pathlib import Path

import pytest

from ci.boot import image_file
from ci.boot.image_file import ImageFile
from ci.host.errors import InputError
from ci.records.validation import CheckResult, Outcome

DIGEST = "a" * 64
IMAGE = ImageFile(path=Path("dist/image.qcow2"), virtual_size=20 << 30, record=None, checksum=None)


def only(results: list[CheckResult], check_id: str) -> CheckResult:
    (found,) = [check for check in results if check.id == check_id]
    return found


@pytest.mark.parametrize("content", [b"", b"QFI", b"<html>", b"\x7fELF", b"KDMV"])
def test_a_file_that_is_no_qcow2_is_refused_before_any_tool_sees_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a QCOW2 image"):
        image_file.read_image_file(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        image_file.read_image_file(tmp_path / "missing.qcow2")
    with pytest.raises(InputError, match="directory"):
        image_file.read_image_file(tmp_path)


@pytest.mark.parametrize(("offset", "value", "words"), [(8, 104, "a backing file"), (72, 4, "an external data file")])
def test_an_image_that_needs_another_file_is_refused_before_any_tool_sees_it(
    offset: int, value: int, words: str, tmp_path: Path
) -> None:
    header = bytearray(b"QFI\xfb" + struct.pack(">I", 3)).ljust(512, b"\0")
    header[offset : offset + 8] = struct.pack(">Q", value)
    path = tmp_path / "image.qcow2"
    path.write_bytes(header)
    with pytest.raises(InputError, match=f"not complete in itself: it has {words}"):
        image_file.read_image_file(path)


def test_a_disk_of_another_size_fails() -> None:
    good = only(image_file.file_checks(IMAGE, DIGEST), "virtual-size")
    small = only(image_file.file_checks(replace(IMAGE, virtual_size=2361393152), DIGEST), "virtual-size")
    assert (good.outcome, small.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert small.actual == "2.19922 GiB"


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (f"{DIGEST}  image.qcow2\n", Outcome.PASSED),
        (f"{DIGEST} *image.qcow2\n", Outcome.PASSED),
        (f"{'b' * 64}  image.qcow2\n", Outcome.FAILED),
        (f"{DIGEST}  other.qcow2\n", Outcome.FAILED),
        (f"{DIGEST}  image.qcow2\n{DIGEST}  other.qcow2\n", Outcome.FAILED),
        ("", Outcome.FAILED),
        (None, Outcome.SKIPPED),
    ],
)
def test_the_checksum_file_must_be_of_this_file_and_name(content: str | None, outcome: Outcome) -> None:
    assert only(image_file.file_checks(replace(IMAGE, checksum=content), DIGEST), "checksum-file").outcome is outcome


def test_an_image_that_a_boot_altered_fails() -> None:
    assert image_file.unchanged(DIGEST, DIGEST).outcome is Outcome.PASSED
    assert image_file.unchanged(DIGEST, "b" * 64).outcome is Outcome.FAILED
