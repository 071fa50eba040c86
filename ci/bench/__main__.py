"""Measure the build and the image against the usual way, and print the figures as a Markdown table on stdout.

build: a copy of the base, one virt-customize and one virt-sysprep, against `python -m ci.build_image`.
boot:  the base with a cloud-init seed, and the image with an init that only reports, against the image; and the image
       as Toolsmith starts it, with little memory against much.
memory: the least memory in which it does some work as Toolsmith starts it.
validation: the whole boot test with several boots at a time, against one after another.
release: the upload of an asset of 1.9 GiB to a server on this machine, against curl's.
fetch: the download of 1 GiB from a server on this machine, against curl's with sha256sum behind it.
Whatever the figures are, the exit code is 0 once they were measured.
"""

import argparse
import contextlib
import functools
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ci import build_image
from ci.bench.boots import measure_boots
from ci.bench.fetch import measure_fetch
from ci.bench.image import BenchedImage
from ci.bench.memory import measure_memory
from ci.bench.record import (
    BuildComparison,
    BuildMeasurement,
    MachineRecord,
    PerformanceRecord,
    markdown,
    table,
)
from ci.bench.release import measure_release
from ci.bench.validation import measure_validation
from ci.demo import throwaway_key
from ci.host import cli
from ci.host.accelerator import CHOICES, Acceleration, probe_aloud
from ci.host.appliance.check import check_appliance
from ci.host.appliance.guestfish import libguestfs_environment
from ci.host.files import sha256_file
from ci.host.prerequisites import quick_check, raise_for
from ci.host.process import Argument, require_tool, run
from ci.host.progress import Reporter
from ci.host.qcow2 import disk_format
from ci.host.qemu import QEMU
from ci.host.repository import ROOT, current_revision
from ci.host.workspace import cache_folder, require_space, work_folder
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import DEMO_IMAGE, GIB, Definition, load_definition
from ci.records import artifacts
from ci.records.build import BuildRecord, StepRecord
from ci.records.record import Part, read_record

PARTS = ("build", "boot", "memory", "validation", "release", "fetch")
USER = "fountain"
SPACE_NEEDED = 10 * GIB

# Limits in seconds for a machine with KVM.
COPY_SECONDS = 600
CUSTOMIZE_SECONDS = 1200
SYSPREP_SECONDS = 300
BUILD_SECONDS = 1200

# A version that no first build has: the image's own description of itself is one of the guest's files.
AGAIN = "v2022.04.21"

# What a machine has where nobody uses it.
BUSY_LOAD = 0.5

VERSIONS = {
    "QEMU": (QEMU, "--version"),
    "libguestfs": ("guestfish", "--version"),
    "virt-customize": ("virt-customize", "--version"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: an image definition, its base, and how guests run here."""

    name: str
    definition: Definition
    base: VerifiedBase
    acceleration: Acceleration


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """Where a measurement keeps its files. `identity` is the private key that both builds let in."""

    path: Path
    identity: Path

    @property
    def public_key(self) -> Path:
        """The public half of `identity`."""
        return Path(f"{self.identity}.pub")

    @property
    def classic(self) -> Path:
        """The image that the classic recipe makes."""
        return self.path / "classic.qcow2"

    @property
    def ours(self) -> Path:
        """The folder that our build fills."""
        return self.path / "ours"


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.bench", __doc__)
    result.add_argument("--image", default=DEMO_IMAGE, metavar="NAME", help="a file of build/images (%(default)s)")
    result.add_argument(
        "--only", type=_parts, default=PARTS, metavar="PARTS", help=f"what to measure (default: {','.join(PARTS)})"
    )
    result.add_argument(
        "--boots", type=_positive, default=3, metavar="N", help="how often to start each (default: %(default)s)"
    )
    result.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep both images there; `--only boot` takes ours from there"
    )
    result.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    result.add_argument("--accel", choices=CHOICES, default="auto", help="how to run the guests (default: auto)")
    return result


def _parts(text: str) -> tuple[str, ...]:
    chosen = {part.strip() for part in text.split(",")}
    if unknown := sorted(chosen.difference(PARTS)):
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of: {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in chosen)


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def main(options: argparse.Namespace, reporter: Reporter) -> int:
    """Measure what was asked for."""
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        reporter.warn(f"other programs are using this machine (load {load:.1f}): the figures will tell of them too")
    definition = load_definition(options.image, build_image.BUILD / "images")
    for tool in ("virt-customize", "virt-sysprep", "cloud-localds"):
        require_tool(tool)
    with _folder(options.keep) as folder:
        quick_check(output=folder.path, cache=cache_folder(), bootstrap=definition.base.bootstrap is not None)
        require_space(folder.path, SPACE_NEEDED)
        acceleration = probe_aloud(options.accel, reporter)
        base = build_image.find_base(build_image.BuildRequest(image=options.image), definition, acceleration, reporter)
        subject = Subject(name=options.image, definition=definition, base=base, acceleration=acceleration)
        parts: dict[str, Part] = {}
        try:
            for part, measure in _measures(subject, folder, options, reporter).items():
                parts[part] = measure()
        finally:
            # Half an hour's figures are not lost because the next part failed.
            if parts:
                _show(performance_record(subject, load, parts), options.json, reporter)
    return 0


def _in_scratch(folder: Folder, measure: Callable[[Path], Part]) -> Part:
    """For what leaves nothing that is worth keeping, and gigabytes of it."""
    with work_folder(folder.path) as scratch:
        return measure(scratch)


def performance_record(subject: Subject, load: float, parts: Mapping[str, Part]) -> PerformanceRecord:
    """The figures with everything that they depend on."""
    revision = current_revision()
    return PerformanceRecord.model_validate(
        {
            "measured_at": datetime.now(UTC).replace(microsecond=0),
            "definition": subject.name,
            "base": subject.base.url,
            "base_sha256": subject.base.sha256,
            "commit": revision.commit,
            "dirty": revision.dirty,
            "machine": this_machine(subject.acceleration, load),
            **{part: parts.get(part) for part in PARTS},
        }
    )


def _show(record: PerformanceRecord, file: Path | None, reporter: Reporter) -> None:
    if file:
        record.write(file)
    reporter.table("Measured", *table(record))
    sys.stdout.write(markdown(record))


def _measures(
    subject: Subject, folder: Folder, options: argparse.Namespace, reporter: Reporter
) -> dict[str, Callable[[], Part]]:
    """How the parts that were asked for are measured, by the names that they have in the record."""
    boots: int = options.boots
    image = functools.cache(lambda: _benched_image(subject, folder, reporter))  # the build's, where that is measured
    measures: dict[str, Callable[[], Part]] = {
        "build": lambda: measure_builds(subject, folder, reporter),
        "boot": lambda: measure_boots(image(), subject.base.path, boots, reporter),
        "memory": lambda: measure_memory(image(), boots, reporter),
        "validation": lambda: measure_validation(image(), reporter),
        "release": lambda: _in_scratch(folder, lambda scratch: measure_release(scratch, boots, reporter)),
        "fetch": lambda: _in_scratch(folder, lambda scratch: measure_fetch(scratch, boots, reporter)),
    }
    return {part: measures[part] for part in options.only}


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Folder]:
    with work_folder(cache_folder() / "bench") if keep is None else contextlib.nullcontext(keep.absolute()) as path:
        path.mkdir(parents=True, exist_ok=True)
        yield Folder(path=path, identity=throwaway_key(path / "key"))


def measure_builds(subject: Subject, folder: Folder, reporter: Reporter) -> BuildComparison:
    """Build both ways.

    Ours goes first: what it leaves in the caches of the package archive then helps the classic recipe, not us.
    """
    with reporter.step("Starting the libguestfs appliance once, so that it is made"):
        raise_for(check_appliance(subject.acceleration))
    record, ours = _measure_our_build(subject, folder, reporter, "Our build", "--no-cache")
    _, again = _measure_our_build(subject, folder, reporter, "Our build, with other guest files", "--version", AGAIN)
    classic = _measure_classic_recipe(subject, folder, reporter)
    return BuildComparison(classic=classic, ours=ours, again=again, peak_memory=record.peak_memory)


def _measure_our_build(
    subject: Subject, folder: Folder, reporter: Reporter, title: str, *flags: str
) -> tuple[BuildRecord, BuildMeasurement]:
    sha256_file(subject.base.path)  # into the page cache
    limit = subject.acceleration.scaled(BUILD_SECONDS)
    with reporter.step(title):
        completed = run([*build_argv(subject, folder), *flags], cwd=ROOT, timeout=limit)
    path = newest_record(folder.ours, subject.name)
    if path is None:
        raise RuntimeError(f"the build left no record in {folder.ours}")
    record = read_record(path, BuildRecord)
    artifact = (folder.ours / record.image.file).stat().st_size
    return record, BuildMeasurement(seconds=round(completed.seconds, 2), artifact=artifact, steps=record.steps)


def _measure_classic_recipe(subject: Subject, folder: Folder, reporter: Reporter) -> BuildMeasurement:
    sha256_file(subject.base.path)  # into the page cache
    packages = subject.definition.packages.install
    size = subject.definition.disk.size_gib * GIB
    recipe: tuple[tuple[list[Argument], float], ...] = (
        (classic_copy_argv(subject.base.path, disk_format(subject.base.path), folder.classic), COPY_SECONDS),
        (classic_resize_argv(folder.classic, size), COPY_SECONDS),
        (classic_customize_argv(folder.classic, packages, folder.public_key), CUSTOMIZE_SECONDS),
        (classic_sysprep_argv(folder.classic), SYSPREP_SECONDS),
    )
    environment = libguestfs_environment(subject.acceleration, folder.path)
    steps: list[StepRecord] = []
    for argv, seconds in recipe:
        title = step_title(argv)
        with reporter.step(f"Classic recipe: {title}"):
            limit = subject.acceleration.scaled(seconds)
            # It says nothing while packages are installed, which takes minutes without KVM.
            completed = run(argv, env=environment, timeout=limit, silence=limit)
        steps.append(StepRecord(title=title, seconds=round(completed.seconds, 2)))
    return BuildMeasurement(
        seconds=round(sum(step.seconds for step in steps), 2),
        artifact=folder.classic.stat().st_size,
        steps=steps,
    )


def build_argv(subject: Subject, folder: Folder) -> list[Argument]:
    """Our build, as a person starts it."""
    # fmt: off
    return [
        sys.executable, "-m", "ci.build_image",
        "--image", subject.name,
        "--authorized-keys", folder.public_key,
        "--output", folder.ours,
        "--accel", subject.acceleration.accelerator.value,
    ]
    # fmt: on


def classic_copy_argv(base: Path, base_format: str, disk: Path) -> list[Argument]:
    """The classic recipe begins with a writable copy of the base."""
    return ["qemu-img", "convert", "-f", base_format, "-O", "qcow2", base, disk]


def classic_resize_argv(disk: Path, size: int) -> list[Argument]:
    """It makes the disk larger, and leaves it to the guest's first start to grow what is on it."""
    return ["qemu-img", "resize", "-q", "-f", "qcow2", disk, str(size)]


def classic_customize_argv(disk: Path, packages: Sequence[str], public_key: Path) -> list[Argument]:
    """All of the recipe's changes in one virt-customize, which installs recommended packages too."""
    # fmt: off
    return [
        "virt-customize", "--format", "qcow2", "--add", disk,
        "--update",
        "--install", ",".join(packages),
        "--run-command", f"useradd --create-home --shell /bin/bash --groups sudo {USER}",
        "--write", f"/etc/sudoers.d/90-{USER}:{USER} ALL=(ALL) NOPASSWD:ALL",
        "--ssh-inject", f"{USER}:file:{public_key}",
    ]
    # fmt: on


def classic_sysprep_argv(disk: Path) -> list[Argument]:
    """One virt-sysprep with its defaults, except for the operation that would remove the key just injected."""
    return ["virt-sysprep", "--format", "qcow2", "--add", disk, "--operations", "defaults,-ssh-userdir"]


def step_title(argv: Sequence[Argument]) -> str:
    """A short name for a command: qemu-img's has two words."""
    words = [os.fspath(argument) for argument in argv[:2]]
    return words[0] if words[1].startswith("-") else " ".join(words)


def newest_record(folder: Path, name: str) -> Path | None:
    """The record of the last build of the definition `name` in `folder`; None where there is none."""
    records = sorted(folder.glob(f"*{artifacts.BUILD}"), key=lambda path: path.stat().st_mtime)
    return next((path for path in reversed(records) if read_record(path, BuildRecord).definition == name), None)


def _benched_image(subject: Subject, folder: Folder, reporter: Reporter) -> BenchedImage:
    return BenchedImage(
        image=_our_image(subject, folder, reporter),
        identity=folder.identity,
        folder=folder.path,
        acceleration=subject.acceleration,
    )


def _our_image(subject: Subject, folder: Folder, reporter: Reporter) -> Path:
    path = newest_record(folder.ours, subject.name)
    if path is None:
        record, _ = _measure_our_build(subject, folder, reporter, "Our build")
    else:
        record = read_record(path, BuildRecord)
        reporter.note(f"Our image: {record.image.file}, built {record.built_at:%Y-%m-%d %H:%M} UTC")
    return folder.ours / record.image.file


def this_machine(acceleration: Acceleration, load: float) -> MachineRecord:
    """What the figures depend on."""
    return MachineRecord(
        cpu=cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8")) or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerator=acceleration.accelerator.value,
        accelerator_reason=acceleration.reason,
        load=round(load, 2),
        tools={name: tool_version(run(argv, timeout=30).stdout) for name, argv in VERSIONS.items()},
    )


def cpu_model(cpuinfo: str) -> str:
    """The processor's name in /proc/cpuinfo; '' where it has none, as on ARM."""
    names = (line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name"))
    return next(names, "")


def tool_version(output: str) -> str:
    """The version in the first line of what a program prints, without the program's name."""
    first = output.partition("\n")[0]
    return first.removeprefix("QEMU emulator version ").removeprefix("guestfish ").removeprefix("virt-customize ")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
