"""The image as a file: what it claims to be, before anything boots it, and that no boot altered it."""

import json
from dataclasses import dataclass
from pathlib import Path

from ci.boot.checks.access import NO_RECORD
from ci.boot.checks.check import Check, result, skipped
from ci.boot.checks.guest import DISK_GIB
from ci.host.errors import InputError, ToolError
from ci.host.process import run
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.validation import CheckResult

BOOT = "image"  # stands where other checks name their boot
MAGIC = b"QFI\xfb"  # https://www.qemu.org/docs/master/interop/qcow2.html
INFO_SECONDS = 60.0

VIRTUAL_SIZE = Check(id="virtual-size", title="The disk has the promised size", expected=f"{DISK_GIB} GiB")
CHECKSUM_FILE = Check(
    id="checksum-file",
    title="The checksum file beside the image holds its digest",
    expected="the image's SHA-256 and its file name",
)
RECORD_DIGEST = Check(id="record-digest", title="The build record is of this very file", expected="the image's SHA-256")
UNCHANGED = Check(
    id="image-unchanged",
    title="No boot altered the image",
    expected="the same SHA-256 before the first boot and after the last",
)
IMAGE_CHECKS = (VIRTUAL_SIZE, CHECKSUM_FILE, RECORD_DIGEST, UNCHANGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What qemu-img tells of an image; sizes in bytes."""

    virtual_size: int


def read_image_info(path: Path) -> ImageInfo:
    """Look at the image without booting it; raises InputError where it is no QCOW2 that stands alone."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="Name the .qcow2 file of a build.") from error
    if magic != MAGIC:
        raise InputError(
            f"{path} is not a QCOW2 image", hint="Name the .qcow2 file of a build; `qemu-img info` tells what it is."
        )
    try:
        output = run(["qemu-img", "info", "--output=json", "--", path], timeout=INFO_SECONDS).stdout
    except ToolError as error:
        raise InputError(
            f"{path} is a damaged QCOW2 image", hint="Build or download it again.", details=error.details
        ) from error
    return parse_image_info(path, output)


def parse_image_info(path: Path, output: str) -> ImageInfo:
    """Read `qemu-img info --output=json`; raises InputError where the image needs another file."""
    info = json.loads(output)
    specific = info.get("format-specific", {}).get("data", {})
    for what, value in (("backing file", info.get("backing-filename")), ("data file", specific.get("data-file"))):
        if value:
            raise InputError(
                f"{path} is not complete: it has a {what}, {value}",
                hint=f"Make it one file: `qemu-img convert -O qcow2 {path} complete.qcow2`.",
            )
    return ImageInfo(virtual_size=int(info["virtual-size"]))


def checksum_path(image: Path) -> Path:
    """The checksum file beside an image."""
    return image.with_name(f"{image.name}{artifacts.SHA256}")


def file_checks(
    image: Path, info: ImageInfo, sha256: str, checksum: str | None, record: BuildRecord | None
) -> list[CheckResult]:
    """What can be told before the first boot. `checksum` is the content of the checksum file, None without one."""
    size = info.virtual_size / (1 << 30)
    results = [result(VIRTUAL_SIZE, BOOT, passed=size == DISK_GIB, actual=f"{size:g} GiB")]
    if checksum is None:
        results.append(skipped(CHECKSUM_FILE, BOOT, f"no {checksum_path(image).name} beside the image"))
    else:
        # sha256sum marks a file read as binary with an asterisk.
        words = [word.removeprefix("*") for word in checksum.split()]
        results.append(result(CHECKSUM_FILE, BOOT, passed=words == [sha256, image.name], actual=checksum.strip()))
    if record is None:
        results.append(skipped(RECORD_DIGEST, BOOT, NO_RECORD))
    else:
        results.append(result(RECORD_DIGEST, BOOT, passed=record.image.sha256 == sha256, actual=record.image.sha256))
    return results


def unchanged(before: str, after: str) -> CheckResult:
    """Compare the digests around all boots."""
    return result(UNCHANGED, BOOT, passed=before == after, actual=f"{before} before, {after} after")
