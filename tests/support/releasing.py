"""A small dist/ that is consistent in itself, for tests that publish: there digests matter, not bootable bytes."""

import hashlib
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from ci.host.progress import StepTime
from ci.records.build import ArtifactRecord, BaseImageRecord, BuildRecord, Verification
from ci.records.packages import Package, to_tsv
from ci.records.validation import BootResult, CheckResult, Outcome, StartPart, ValidationReport

COMMIT = "c0ffee" + "0" * 34
TAG = "v2026.11.23"
DAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PACKAGES = (
    Package(name="curl", version="7.88.1-10", architecture="amd64", installed_kib=500),
    Package(name="git", version="1:2.39.2-1", architecture="amd64", installed_kib=40_000),
)
# In place of the consumer's tool, whose bytes matter where it is run.
ENSURE_VM = b"#!/usr/bin/env python3\n"


def write_ensure_vm(folder: Path, _commit: str | None) -> Path:
    """What `ci.publish_release` makes of the checkout, without looking at it."""
    path = folder / "ensure-vm.pyz"
    path.write_bytes(ENSURE_VM)
    return path


def sbom(stem: str, sha256: str, packages: Iterable[Package]) -> str:
    """An SBOM of an image, as far as a release looks into it."""
    component = {"type": "operating-system", "name": stem, "hashes": [{"alg": "SHA-256", "content": sha256}]}
    components = [{"type": "library", "name": package.name, "version": package.version} for package in packages]
    serial_number = uuid.uuid5(uuid.NAMESPACE_URL, sha256).urn
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "serialNumber": serial_number}
    return json.dumps(head | {"metadata": {"component": component}, "components": components})


def build_record(**changes: object) -> BuildRecord:
    record = BuildRecord(
        name=f"fountainkit-toolsmith-debian-12-{TAG}",
        version=TAG,
        definition="bookworm",
        definition_sha256="d" * 64,
        inputs={},
        distribution="debian-12",
        commit=COMMIT,
        dirty=False,
        built_at=DAY,
        base=BaseImageRecord(
            url="https://images.example/base.qcow2",
            sha256="b" * 64,
            size=1000,
            verification=Verification.PINNED_DIGEST,
            verified_by="build/images/bookworm.toml",
        ),
        image=ArtifactRecord(
            file=f"fountainkit-toolsmith-debian-12-{TAG}.qcow2", sha256="0" * 64, size=1, virtual_size=20 << 30
        ),
        packages=len(PACKAGES),
        transaction=[],
        kernel="6.1.0-1-amd64",
        drivers={},
        authorized_keys=[],
        accelerator="tcg: a test",
        tools={},
        steps=[StepTime(title="a step", seconds=1.0)],
        seconds=1.0,
        peak_memory=1,
    )
    return record.model_copy(update=changes)


# As measured, without KVM.
START = tuple(
    StartPart(name=name, begin=begin, seconds=seconds)
    for name, begin, seconds in (
        ("firmware and boot loader", 0.0, 3.1),
        ("kernel and initramfs", 3.1, 9.4),
        ("systemd-udevd.service", 14.0, 2.2),
        ("fountainkit-hostkeys.service", 17.3, 1.5),
        ("ssh.service", 19.9, 1.6),
    )
)


def validation_report(build: BuildRecord, **changes: object) -> ValidationReport:
    def check(name: str) -> CheckResult:
        return CheckResult(
            id=name, boot="full", title=name, expected="x", actual="x", outcome=Outcome.PASSED, seconds=0.1
        )

    report = ValidationReport(
        image=build.image.file,
        image_sha256=build.image.sha256,
        version=build.version,
        passed=True,
        started_at=DAY,
        accelerator="tcg",
        accelerator_reason="a test",
        qemu="QEMU",
        boots=[
            BootResult(
                name=name,
                memory_mib=256,
                cpus=1,
                login_prompt_seconds=1.0,
                ssh_seconds=21.5,
                total_seconds=30.0,
                start=START if name == "full" else (),
            )
            for name in ("full", "clone", "consumer", "seed")
        ],
        checks=[check("image-json"), check("ssh")],
        seconds=120.0,
    )
    return report.model_copy(update=changes)


def make_dist(
    folder: Path,
    *,
    tag: str = TAG,
    commit: str = COMMIT,
    image: bytes = b"QFI\xfb the image",
    packages: Iterable[Package] = PACKAGES,
    distribution: str = "debian-12",
    definition: str = "bookworm",
    base_sha256: str = "b" * 64,
) -> Path:
    """Write a dist/ whose files agree; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = tuple(packages)
    stem = f"fountainkit-toolsmith-{distribution}-{tag}"
    sha256 = hashlib.sha256(image).hexdigest()
    plain = build_record()
    build = build_record(
        name=stem,
        version=tag,
        commit=commit,
        distribution=distribution,
        definition=definition,
        base=plain.base.model_copy(update={"sha256": base_sha256}),
        image=ArtifactRecord(file=f"{stem}.qcow2", sha256=sha256, size=len(image), virtual_size=20 << 30),
        packages=len(packages),
    )
    (folder / f"{stem}.qcow2").write_bytes(image)
    (folder / f"{stem}.qcow2.sha256").write_text(f"{sha256}  {stem}.qcow2\n")
    (folder / f"{stem}.packages.tsv").write_text(to_tsv(packages))
    (folder / f"{stem}.cdx.json").write_text(sbom(stem, sha256, packages))
    build.write(folder / f"{stem}.build.json")
    validation_report(build).write(folder / f"{stem}.validation.json")
    (folder / f"{stem}.validation.xml").write_text("<testsuites/>\n")
    (folder / f"{stem}.validation.md").write_text("# Validation\n")
    (folder / f"{stem}.console.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder
