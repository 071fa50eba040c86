"""Release records for tests of what reads them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ci.records.build import BaseImageRecord, Verification
from ci.records.packages import Package, PackageChange, PackageDiff
from ci.records.release import (
    AssetRecord,
    AttestationRecord,
    ImageRelease,
    ReleaseFacts,
    ReleaseRecord,
    ValidationSummary,
)
from ci.records.version import Version

REPOSITORY = "fountain/image"
SITE = f"https://github.com/{REPOSITORY}"
NAME = "fountainkit-toolsmith-ubuntu-2204"
COMMIT = "c0ffee" + "1" * 34
TIMES = {"full": 5.25, "consumer": 7.0}

# What nobody should put into a record, and what must not leave the place where it is shown.
HOSTILE = [
    "<script>alert(1)</script>",
    "</script></style></code></pre></title>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &#60;i&#62;",
    "\x00\x1b[31m\u202e\u2028\ufeff",
    "]]></content><entry>",
    "javascript:alert(1)",
]


def package(name: str, version: str) -> Package:
    return Package(name=name, version=version, architecture="amd64", installed_kib=100)


def make_changes(**changes: object) -> PackageDiff:
    pair = PackageChange(old=package("curl", "7.81.0-1"), new=package("curl", "7.81.0-2"))
    diff = PackageDiff(
        added=(package("git", "1:2.34.1-1"),), removed=(), upgraded=(pair,), downgraded=(), old_kib=100, new_kib=200
    )
    return diff.model_copy(update=changes)


def make_asset(tag: str, ending: str, digit: str, size: int) -> AssetRecord:
    name = f"{NAME}-{tag}{ending}"
    return AssetRecord(name=name, sha256=digit * 64, size=size, url=f"{SITE}/releases/download/{tag}/{name}")


def make_image(
    tag: str, *, size: int = 364_200_000, times: Mapping[str, float] = TIMES, **changes: object
) -> ImageRelease:
    qcow2 = make_asset(tag, ".qcow2", "1", size)
    packages = make_asset(tag, ".packages.tsv", "2", 9000)
    image = ImageRelease(
        name=NAME,
        definition="jammy",
        definition_sha256="d" * 64,
        inputs={},
        distribution="ubuntu-2204",
        built_at=datetime.combine(Version.parse(tag).day, datetime.min.time(), UTC),
        base=BaseImageRecord(
            url="https://cloud-images.example/base.img",
            sha256="b" * 64,
            size=600_000_000,
            verification=Verification.SIGNED_CHECKSUMS,
            verified_by="D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81",
        ),
        kernel="5.15.0-190-generic",
        packages=612,
        qcow2=qcow2,
        virtual_size=20 << 30,
        assets=[qcow2, packages],
        validation=ValidationSummary(passed=57, skipped=2, accelerator="kvm", ssh_seconds=dict(times)),
        attestation=AttestationRecord(url="https://api.github.com/attestations/x", predicates=["provenance"]),
    )
    return image.model_copy(update=changes)


def make_record(tag: str = "v2026.11.23", image: ImageRelease | None = None, **changes: object) -> ReleaseRecord:
    record = ReleaseRecord(
        tag=tag,
        repository=REPOSITORY,
        url=f"{SITE}/releases/tag/{tag}",
        commit=COMMIT,
        run=f"{SITE}/actions/runs/7",
        previous=None,
        changes=None,
        image=image or make_image(tag),
        others=[],
        ensure_vm=make_asset(tag, ".pyz", "3", 90_000),
    )
    return record.model_copy(update=changes)


def make_records(*tags: str, first_size: int = 364_200_000) -> list[ReleaseRecord]:
    """A history, newest first, each release a megabyte larger than the one before."""
    records: list[ReleaseRecord] = []
    for number, tag in enumerate(tags):
        previous = ReleaseFacts.of(records[-1]) if records else None
        image = make_image(tag, size=first_size + number * 1_000_000)
        records.append(make_record(tag, image, previous=previous, changes=make_changes() if previous else None))
    return records[::-1]


def write(folder: Path, *records: ReleaseRecord) -> Path:
    for record in records:
        record.write(folder / f"{record.tag}.json")
    return folder
