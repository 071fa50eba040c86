"""Measure builds: ours against a copy of the base, one virt-customize and one virt-sysprep.

Also what all parts of `toolsmith-image bench` measure: see BenchSubject.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.bench.record import Bounded, Compared, MeasuredPart
from ci.boot.vm.ssh import Key
from ci.host.accelerator import Acceleration
from ci.host.appliance.check import check_appliance
from ci.host.appliance.guestfish import libguestfs_environment
from ci.host.files import sha256_file
from ci.host.prerequisites import raise_for
from ci.host.process import Argument, run
from ci.host.progress import Reporter, StepTime
from ci.host.qcow2 import disk_format
from ci.host.repository import ROOT
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import GIB, Definition
from ci.machine.ssh import USER
from ci.records import artifacts
from ci.records.build import BuildRecord
from ci.records.record import read_record
from ci.text import figures

# The limit of our build, and of each command of the classic recipe, for a machine with KVM.
SECONDS = 1200

# A version that no first build has: the image's own description of itself is one of the guest's files.
AGAIN = ("--version", "v2022.04.21")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSubject:
    """What is measured: an image definition and its base, and how guests run here.

    `folder` takes all files; `key` is what both builds let in, by the line in the file `public_key`.
    """

    name: str
    definition: Definition
    base: VerifiedBase
    acceleration: Acceleration
    folder: Path
    public_key: Path
    key: Key

    @property
    def classic(self) -> Path:
        """The image that the classic recipe makes."""
        return self.folder / "classic.qcow2"

    @property
    def ours(self) -> Path:
        """The folder that our build fills."""
        return self.folder / "ours"


def measure_builds(subject: BenchSubject, _boots: int, reporter: Reporter) -> MeasuredPart:
    """Build both ways.

    Ours goes first: what it leaves in the caches of the package archive then helps the classic recipe, not us.
    """
    with reporter.step("Starting the libguestfs appliance once, so that it is made"):
        raise_for(check_appliance(subject.acceleration))
    ours, seconds = _build(subject, reporter, "Our build", "--no-cache")
    again, seconds_again = _build(subject, reporter, "Our build, with other guest files", *AGAIN)
    steps = _build_classic(subject, reporter)
    usual, size = sum(step.seconds for step in steps), subject.classic.stat().st_size
    what_again = "build after a change of guest files (usual way: our whole build)"
    what_memory = "peak memory of our build's process"
    return MeasuredPart(
        rows=[
            Compared(what="build", usual=[usual], ours=[seconds], target=0.35),
            Compared(what=what_again, usual=[seconds], ours=[seconds_again], target=0.35),
            Compared(what="image file", unit="bytes", usual=[size], ours=[ours.image.size], target=0.18),
            Bounded(what=what_memory, unit="bytes", ours=ours.peak_memory, target=200_000_000),
        ],
        notes=(
            f"Where the time went. The classic recipe: {_listed(steps)}.",
            f"Our build: {_listed(ours.steps)}.",
            f"Our build after a change of guest files: {_listed(again.steps)}.",
        ),
    )


def our_image(subject: BenchSubject, reporter: Reporter) -> Path:
    """The image that was built last, or is built now."""
    record = newest_build(subject.ours, subject.name)
    if record is None:
        record, _ = _build(subject, reporter, "Our build")
    else:
        reporter.note(f"Our image: {record.image.file}, built {record.built_at:%Y-%m-%d %H:%M} UTC")
    return subject.ours / record.image.file


def newest_build(folder: Path, name: str) -> BuildRecord | None:
    """The record of the last build of the definition `name` in `folder`; None where there is none."""
    paths = sorted(folder.glob(f"*{artifacts.BUILD}"), key=lambda path: path.stat().st_mtime, reverse=True)
    records = (read_record(path, BuildRecord) for path in paths)
    return next((record for record in records if record.definition == name), None)


def build_argv(subject: BenchSubject, *flags: str) -> list[Argument]:
    """Our build, as a person starts it: its process is what is measured."""
    # fmt: off
    return [
        sys.executable, "-m", "ci.build_image",
        "--image", subject.name,
        "--authorized-keys", subject.public_key,
        "--output", subject.ours,
        "--accel", subject.acceleration.accelerator.value,
        *flags,
    ]
    # fmt: on


def classic_recipe(subject: BenchSubject, base_format: str) -> dict[str, list[Argument]]:
    """The usual way. The disk is made larger only: the guest's first start grows what is on it.

    virt-customize installs recommended packages too. virt-sysprep has its defaults, except for the operation that would
    remove the key just injected.
    """
    disk = subject.classic
    size = str(subject.definition.disk.size_gib * GIB)
    # fmt: off
    return {
        "qemu-img convert": ["qemu-img", "convert", "-f", base_format, "-O", "qcow2", subject.base.path, disk],
        "qemu-img resize": ["qemu-img", "resize", "-q", "-f", "qcow2", disk, size],
        "virt-customize": [
            "virt-customize", "--format", "qcow2", "--add", disk,
            "--update",
            "--install", ",".join(subject.definition.packages.install),
            "--run-command", f"useradd --create-home --shell /bin/bash --groups sudo {USER}",
            "--write", f"/etc/sudoers.d/90-{USER}:{USER} ALL=(ALL) NOPASSWD:ALL",
            "--ssh-inject", f"{USER}:file:{subject.public_key}",
        ],
        "virt-sysprep": ["virt-sysprep", "--format", "qcow2", "--add", disk, "--operations", "defaults,-ssh-userdir"],
    }
    # fmt: on


def _build(subject: BenchSubject, reporter: Reporter, title: str, *flags: str) -> tuple[BuildRecord, float]:
    """Our build, and the seconds of its whole process."""
    sha256_file(subject.base.path)  # into the page cache
    with reporter.step(title):
        completed = run(build_argv(subject, *flags), cwd=ROOT, timeout=subject.acceleration.scaled(SECONDS))
    record = newest_build(subject.ours, subject.name)
    if record is None:
        raise RuntimeError(f"the build left no record in {subject.ours}")
    return record, round(completed.seconds, 2)


def _build_classic(subject: BenchSubject, reporter: Reporter) -> list[StepTime]:
    sha256_file(subject.base.path)  # into the page cache
    environment = libguestfs_environment(subject.acceleration, subject.folder)
    limit = subject.acceleration.scaled(SECONDS)
    steps: list[StepTime] = []
    for title, argv in classic_recipe(subject, disk_format(subject.base.path)).items():
        with reporter.step(f"Classic recipe: {title}"):
            # It says nothing while packages are installed, which takes minutes without KVM.
            completed = run(argv, env=environment, cwd=subject.folder, timeout=limit, silence=limit)
        steps.append(StepTime(title=title, seconds=round(completed.seconds, 2)))
    return steps


def _listed(steps: Sequence[StepTime]) -> str:
    return ", ".join(f"{step.title} {figures.seconds(step.seconds)}" for step in steps)
