"""Measure the build and the image against the usual way, and print the figures as a Markdown table on stdout.

build:  a copy of the base, one virt-customize and one virt-sysprep, against `toolsmith-image build`.
boot:   the base with a cloud-init seed, and the image with an init that only reports, against the image; and the image
        as Toolsmith starts it, with little memory against much, and against `toolsmith-image run -- true`.
memory: the least memory in which it does some work as Toolsmith starts it.
fetch:  the download of 1 GiB from a server on this machine, against curl's with sha256sum behind it.
Whatever the figures are, the exit code is 0 once they were measured.
"""

import argparse
import contextlib
import os
import platform
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from ci.bench.boots import measure_boots
from ci.bench.builds import BenchSubject, measure_builds
from ci.bench.fetch import measure_fetch
from ci.bench.memory import measure_memory
from ci.bench.record import COLUMNS, MeasuredPart, PerformanceRecord
from ci.boot.vm.ssh import load_key
from ci.build_image import find_base, request_of_environment
from ci.demo import throwaway_key
from ci.host import cli
from ci.host.accelerator import CHOICES, probe_aloud
from ci.host.prerequisites import quick_check
from ci.host.process import require_tool, run
from ci.host.progress import Reporter, write_result
from ci.host.qemu import QEMU
from ci.host.repository import BUILD, current_revision
from ci.host.workspace import cache_folder, in_use, require_space, work_folder
from ci.image.definition import DEMO_IMAGE, GIB, load_definition

PARTS = {"build": measure_builds, "boot": measure_boots, "memory": measure_memory, "fetch": measure_fetch}
SPACE_NEEDED = 10 * GIB

VERSIONS_OF = (QEMU, "guestfish", "virt-customize")
# What a machine has where nobody uses it.
BUSY_LOAD = 0.5


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("toolsmith-image bench", __doc__)
    result.add_argument("--image", default=DEMO_IMAGE, metavar="NAME", help="a file of build/images (%(default)s)")
    result.add_argument(
        "--only", nargs="+", choices=PARTS, default=[*PARTS], help=f"what to measure (default: {' '.join(PARTS)})"
    )
    result.add_argument(
        "--boots", type=int, choices=range(1, 10), default=3, metavar="N", help="how often each (default: %(default)s)"
    )
    result.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep both images there; `--only boot` takes ours from there"
    )
    result.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured to FILE")
    result.add_argument("--accel", choices=CHOICES, default="auto", help="how to run the guests (default: auto)")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        reporter.warn(f"other programs are using this machine (load {load:.1f}): the figures will tell of them too")
    for tool in ("virt-customize", "virt-sysprep", "cloud-localds"):
        require_tool(tool)
    kept = contextlib.nullcontext(options.keep.absolute()) if options.keep else None
    with in_use(cache_folder()), kept or work_folder(cache_folder() / "bench") as folder:
        folder.mkdir(parents=True, exist_ok=True)
        subject = _subject(options, folder, reporter)
        parts: dict[str, MeasuredPart] = {}
        try:
            for part, measure in PARTS.items():
                if part in options.only:
                    parts[part] = measure(subject, options.boots, reporter)
        finally:
            # Half an hour's figures are not lost because the next part failed.
            if parts:
                record = performance_record(subject, load, parts)
                if options.json:
                    record.write(options.json)
                reporter.table("Measured", COLUMNS, record.rows())
                write_result(record.markdown())


def _subject(options: argparse.Namespace, folder: Path, reporter: Reporter) -> BenchSubject:
    definition = load_definition(options.image, BUILD / "images")
    quick_check(output=folder, cache=cache_folder(), bootstrap=definition.base.bootstrap is not None)
    require_space(folder, SPACE_NEEDED)
    acceleration = probe_aloud(options.accel, reporter)
    identity = throwaway_key(folder / "key")
    return BenchSubject(
        name=options.image,
        definition=definition,
        base=find_base(replace(request_of_environment(), image=options.image), definition, acceleration, reporter),
        acceleration=acceleration,
        folder=folder,
        public_key=Path(f"{identity}.pub"),
        key=load_key(identity.read_text(encoding="utf-8")),
    )


def performance_record(subject: BenchSubject, load: float, parts: dict[str, MeasuredPart]) -> PerformanceRecord:
    """The figures with everything that they depend on."""
    revision = current_revision()
    return PerformanceRecord(
        measured_at=datetime.now(UTC).replace(microsecond=0),
        definition=subject.name,
        base=subject.base.url,
        base_sha256=subject.base.sha256,
        commit=revision.commit,
        dirty=revision.dirty,
        cpu=cpu_model(Path("/proc/cpuinfo").read_text(encoding="utf-8")) or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerator=subject.acceleration.accelerator.value,
        accelerator_reason=subject.acceleration.reason,
        load=round(load, 2),
        tools=[run([tool, "--version"], timeout=30).stdout.partition("\n")[0] for tool in VERSIONS_OF],
        parts=parts,
    )


def cpu_model(cpuinfo: str) -> str:
    """The processor's name in /proc/cpuinfo; '' where it has none, as on ARM."""
    names = (line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name"))
    return next(names, "")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
