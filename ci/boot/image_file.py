"""The image as a file: what it claims to be, before anything boots it, and that no boot altered it."""

from dataclasses import dataclass
from pathlib import Path

from ci.boot.checks.load import CHECKS
from ci.host import qcow2
from ci.host.errors import InputError, ToolError
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.record import read_record
from ci.records.validation import CheckResult

BOOT = "image"  # stands where other checks name their boot
DISK_GIB = 20
NO_RECORD = "no build record beside the image"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """The image under test, with what stands beside it. `checksum` is the content of its checksum file."""

    path: Path
    virtual_size: int
    record: BuildRecord | None
    checksum: str | None

    @property
    def stem(self) -> str:
        """What the names of all files of this image begin with."""
        return self.path.name.removesuffix(artifacts.IMAGE)


def read_image_file(path: Path) -> ImageFile:
    """Look at the image and what is beside it; raises InputError where it is no QCOW2 that stands alone."""
    size = _virtual_size(path)
    record = path.with_name(path.name.removesuffix(artifacts.IMAGE) + artifacts.BUILD)
    checksum = _checksum_path(path)
    return ImageFile(
        path=path,
        virtual_size=size,
        record=read_record(record, BuildRecord) if record.exists() else None,
        checksum=checksum.read_text(encoding="utf-8", errors="replace") if checksum.exists() else None,
    )


def _virtual_size(path: Path) -> int:
    try:
        with path.open("rb") as file:
            start = file.read(qcow2.SECTOR_BYTES)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="Name the .qcow2 file of a build.") from error
    if not start.startswith(qcow2.QCOW2_MAGIC):
        raise InputError(
            f"{path} is not a QCOW2 image", hint="Name the .qcow2 file of a build; `qemu-img info` tells what it is."
        )
    # Before any tool opens it: what the header names, qemu-img would open.
    if problems := qcow2.header_problems(start):
        raise InputError(
            f"{path} is not complete in itself: it has {', '.join(problems)}",
            hint=f"Make it one file: `qemu-img convert -O qcow2 {path} complete.qcow2`.",
        )
    try:
        return qcow2.virtual_size(path)
    except ToolError as error:
        raise InputError(
            f"{path} is a damaged QCOW2 image", hint="Build or download it again.", details=error.details
        ) from error


def _checksum_path(image: Path) -> Path:
    return image.with_name(f"{image.name}{artifacts.SHA256}")


def file_checks(image: ImageFile, sha256: str) -> list[CheckResult]:
    """What can be told before the first boot, of an image with this digest."""
    size, checksum, record = CHECKS["virtual-size"], CHECKS["checksum-file"], CHECKS["record-digest"]
    gib = image.virtual_size / (1 << 30)
    results = [size.result(BOOT, passed=gib == DISK_GIB, actual=f"{gib:g} GiB")]
    if image.checksum is None:
        results.append(checksum.skipped(BOOT, f"no {_checksum_path(image.path).name} beside the image"))
    else:
        # sha256sum marks a file read as binary with an asterisk.
        words = [word.removeprefix("*") for word in image.checksum.split()]
        passed = words == [sha256, image.path.name]
        results.append(checksum.result(BOOT, passed=passed, actual=image.checksum.strip()))
    if image.record is None:
        results.append(record.skipped(BOOT, NO_RECORD))
    else:
        recorded = image.record.image.sha256
        results.append(record.result(BOOT, passed=recorded == sha256, actual=recorded))
    return results


def unchanged(before: str, after: str) -> CheckResult:
    """Compare the digests around all boots."""
    return CHECKS["image-unchanged"].result(BOOT, passed=before == after, actual=f"{before} before, {after} after")
