"""Three releases, published and rolled out by the real commands on a GitHub of the test's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ci.records.build import BuildRecord
from ci.records.packages import Package
from ci.records.record import read_record
from ci.records.validation import ValidationReport
from tests.support.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedRelease:
    """What one of the releases is made of: the image's bytes are noise, the figures were measured on real ones."""

    tag: str
    built_at: datetime
    size: int
    accelerator: str
    ssh_seconds: Mapping[str, float]
    packages: tuple[Package, ...]
    base_sha256: str


def package(name: str, version: str, kib: int) -> Package:
    return Package(name=name, version=version, architecture="amd64", installed_kib=kib)


FIRST = (
    package("cloud-init", "22.4.2-1+deb12u1", 2400),
    package("curl", "7.88.1-10+deb12u12", 500),
    package("git", "1:2.39.5-0+deb12u2", 41_000),
    package("nano", "7.2-1+deb12u1", 2800),
    package("openssh-server", "1:9.2p1-2+deb12u6", 1800),
    package("python3", "3.11.2-1+b1", 80),
)
SECOND = (
    *(one for one in FIRST if one.name not in {"curl", "nano"}),
    package("curl", "7.88.1-10+deb12u14", 500),
    package("qemu-guest-agent", "1:7.2+dfsg-7+deb12u16", 1500),
)
RELEASES = (
    RehearsedRelease(
        tag="v2026.11.09", built_at=datetime(2026, 11, 9, 6, 40, tzinfo=UTC), size=3_640_000, accelerator="tcg",
        ssh_seconds={"full": 24.8, "clone": 24.6, "consumer": 31.3, "seed": 64.2}, packages=FIRST, base_sha256="b" * 64,
    ),
    RehearsedRelease(
        tag="v2026.11.16", built_at=datetime(2026, 11, 16, 6, 41, tzinfo=UTC), size=3_580_000, accelerator="tcg",
        ssh_seconds={"full": 12.6, "clone": 12.6, "consumer": 16.9, "seed": 24.6}, packages=SECOND,
        base_sha256="b" * 64,
    ),
    RehearsedRelease(
        tag="v2026.11.16.1", built_at=datetime(2026, 11, 16, 15, 2, tzinfo=UTC), size=3_581_000, accelerator="tcg",
        ssh_seconds={"full": 12.5, "clone": 12.4, "consumer": 16.4, "seed": 24.9}, packages=SECOND,
        base_sha256="c" * 64,
    ),
)  # fmt: skip


def rehearse(stage: Stage) -> Path:
    """Publish, roll out and merge each; the folder `releases` as the repository then has it."""
    for number, one in enumerate(RELEASES, start=1):
        dist = _make_dist(stage, one)
        for ran in (stage.publish(dist=dist), stage.roll_out(tag=one.tag)):
            assert ran.code == 0, ran.said
        stage.server.merge_pull(stage.repository, number)
    folder = stage.folder / "releases"
    folder.mkdir()
    for path in stage.tree():
        if path.startswith("releases/") and (text := stage.read(path)) is not None:
            (stage.folder / path).write_text(text, encoding="utf-8")
    return folder


def _make_dist(stage: Stage, one: RehearsedRelease) -> Path:
    image = b"QFI\xfb" + (one.tag.encode() * one.size)[: one.size - 4]
    folder = stage.build(
        one.tag,
        folder=stage.folder / f"dist-{one.tag}",
        image=image,
        packages=one.packages,
        base_sha256=one.base_sha256,
    )
    (build,) = folder.glob("*.build.json")
    read_record(build, BuildRecord).model_copy(update={"built_at": one.built_at}).write(build)
    (validation,) = folder.glob("*.validation.json")
    report = read_record(validation, ValidationReport)
    boots = [boot.model_copy(update={"ssh_seconds": one.ssh_seconds[boot.name]}) for boot in report.boots]
    report.model_copy(update={"boots": boots, "accelerator": one.accelerator}).write(validation)
    return folder
