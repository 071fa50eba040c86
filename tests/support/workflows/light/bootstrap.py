"""Stands in for a base made from packages: an empty disk."""

from pathlib import Path

from ci.host.accelerator import Acceleration
from ci.host.files import sha256_file
from ci.host.process import run
from ci.host.progress import Reporter
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import Bootstrap
from ci.records.build import Verification


def bootstrap_base(
    bootstrap: Bootstrap, *, recipe: Path, cache: Path, acceleration: Acceleration, reporter: Reporter
) -> VerifiedBase:
    del recipe, acceleration, reporter
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / "empty.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", path, "2G"], timeout=60)
    return VerifiedBase(
        path=path,
        url=f"bootstrap:{bootstrap.suite}",
        sha256=sha256_file(path),
        size=path.stat().st_size,
        verification=Verification.SIGNED_PACKAGES,
        verified_by=bootstrap.keyring.name,
    )
