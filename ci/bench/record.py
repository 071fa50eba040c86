"""A measurement: this repository's build and image against the usual way, on one machine. And how it is shown."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import Field

from ci.records.build import StepRecord
from ci.records.record import Part, Record

BUILD_RATIO = 0.35
AGAIN_RATIO = 0.35
ARTIFACT_RATIO = 0.18
BOOT_RATIO = 0.3
FLOOR_RATIO = 2.0
LITTLE_MEMORY_RATIO = 2.0
MEMORY_FLOOR_MIB = 128
PEAK_MEMORY = 200_000_000
UPLOAD_RATIO = 1.1
PUBLISH_MEMORY = 150_000_000
# At least 90 % of the rate of the usual way.
FETCH_RATIO = 1 / 0.9
FETCH_MEMORY = 100_000_000
CACHED_RATIO = 1.0

COLUMNS = ("what", "usual way", "ours", "ratio", "target", "")

METHOD = """\
Method: one run of `scripts/bench.sh`. Each build once, from the same base and with the package archive over the \
network; ours goes first. Starts alternate (base, ours, base, ours); the time is from QEMU's start to the first login \
by SSH. Where there are several, the figure is the median, with the smallest and the largest behind it; a ratio's are \
those of the pairs."""


class MachineRecord(Part):
    """What it was measured on; `memory` in bytes, `load` is the average of the minute before."""

    cpu: str
    cores: int
    memory: int
    accelerator: str
    accelerator_reason: str
    load: float
    tools: dict[str, str]


class BuildMeasurement(Part):
    """One build: wall seconds, the size of the image file (its `st_size`) in bytes, and what the seconds went into."""

    seconds: float
    artifact: int
    steps: list[StepRecord]


class BuildComparison(Part):
    """Builds from one base; `peak_memory` is of our own process, in bytes, without the tools it starts.

    `again` is ours once more, with the layer that the first one left: only files of the guest differ.
    """

    classic: BuildMeasurement
    ours: BuildMeasurement
    again: BuildMeasurement | None = None
    peak_memory: int


class Stages(Part):
    """Seconds of a start: firmware and boot loader; kernel and initramfs; what the system does before SSH lets in."""

    loader: float
    kernel: float
    services: float


class BootComparison(Part):
    """Seconds from QEMU's start to the first SSH login; the starts alternated, so that equal positions are pairs.

    `floor` is to the report of an init that does nothing else. `little` and `much` are of the consumer's machine, with
    QEMU's default memory and with 2 GiB, to the end of the first command on port 3023. `base_command` is of the base to
    the end of its first command, on port 22; `base_little` says what it does in QEMU's default memory. `base_stages`
    and `stages` are what `base` and `ours` are made of.
    """

    base: list[float] = Field(min_length=1)
    ours: list[float] = Field(min_length=1)
    floor: list[float] = Field(default_factory=list)
    little: list[float] = Field(default_factory=list)
    much: list[float] = Field(default_factory=list)
    base_command: list[float] = Field(default_factory=list)
    base_stages: list[Stages] = Field(default_factory=list)
    stages: list[Stages] = Field(default_factory=list)
    base_little: str = ""
    memory_mib: int
    cpus: int


class MemoryTrial(Part):
    """One start with `mib` MiB; `seconds` to the end of some work there, None with the reason where it failed."""

    mib: int
    seconds: float | None
    failure: str = ""

    def outcome(self) -> str:
        """In words."""
        return f"{self.mib} MiB: {self.failure if self.seconds is None else _seconds(self.seconds)}"


class MemoryMeasurement(Part):
    """The least memory the image works in, and how that was found; None where it works nowhere."""

    floor_mib: int | None
    trials: list[MemoryTrial] = Field(min_length=1)


class ValidationComparison(Part):
    """Seconds of the whole boot test of one image: one boot at a time, and `at_a_time` of them side by side."""

    one_by_one: float
    side_by_side: float
    at_a_time: int


class ReleaseComparison(Part):
    """Uploads of `asset_bytes` to one server, in turns, in seconds; `peak_memory` is our whole process's, in bytes.

    `requests` are those of one whole publication.
    """

    asset_bytes: int
    curl: list[float] = Field(min_length=1)
    ours: list[float] = Field(min_length=1)
    peak_memory: int
    requests: int


class FetchComparison(Part):
    """Downloads of `file_bytes` from one server, and looks at the file once it is there, in turns, in seconds.

    `pipeline` is curl's with tee and sha256sum behind it; `peak_memory` is our whole process's, in bytes.
    """

    file_bytes: int
    pipeline: list[float] = Field(min_length=1)
    ours: list[float] = Field(min_length=1)
    sha256sum: list[float] = Field(min_length=1)
    cached: list[float] = Field(min_length=1)
    peak_memory: int


class PerformanceRecord(Record):
    """One run; a part that was not measured is None."""

    schema_: Literal["fountainkit-toolsmith-image/performance/1"] = Field(
        default="fountainkit-toolsmith-image/performance/1", alias="schema"
    )
    measured_at: datetime
    definition: str
    base: str
    base_sha256: str
    commit: str
    dirty: bool
    machine: MachineRecord
    build: BuildComparison | None
    boot: BootComparison | None
    memory: MemoryMeasurement | None = None
    validation: ValidationComparison | None = None
    release: ReleaseComparison | None = None
    fetch: FetchComparison | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """What a few measurements say; with a single one, all three are equal."""

    minimum: float
    median: float
    maximum: float
    count: int


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(minimum=min(values), median=statistics.median(values), maximum=max(values), count=len(values))


def ratio(ours: Sequence[float], usual: Sequence[float]) -> Spread:
    """Ours as a part of the usual: of the medians, and the extremes of the pairs. Both are equally long."""
    pairs = [mine / theirs for mine, theirs in zip(ours, usual, strict=True)]
    return Spread(
        minimum=min(pairs),
        median=statistics.median(ours) / statistics.median(usual),
        maximum=max(pairs),
        count=len(pairs),
    )


def table(record: PerformanceRecord) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The columns and the rows of the figures, each beside its target."""
    rows: list[tuple[str, ...]] = []
    if build := record.build:
        classic, ours = build.classic, build.ours
        rows += [
            _compared("build", [classic.seconds], [ours.seconds], _seconds, BUILD_RATIO),
            *_again_rows(build),
            _compared("image file", [classic.artifact], [ours.artifact], _megabytes, ARTIFACT_RATIO),
            _bounded("peak memory of our build's process", build.peak_memory, PEAK_MEMORY),
        ]
    if boot := record.boot:
        rows += _boot_rows(boot)
    if memory := record.memory:
        rows.append(_memory_row(memory))
    if validation := record.validation:
        what = f"the whole boot test, {validation.at_a_time} boots at a time (usual way: one after another)"
        rows.append(_compared(what, [validation.one_by_one], [validation.side_by_side], _seconds))
    if release := record.release:
        rows += [
            _compared("upload of 1.9 GiB (usual way: curl)", release.curl, release.ours, _seconds, UPLOAD_RATIO),
            _bounded("peak memory of publishing it", release.peak_memory, PUBLISH_MEMORY),
        ]
    if fetch := record.fetch:
        rows += [
            _compared(
                "download of 1 GiB (usual way: curl, sha256sum)", fetch.pipeline, fetch.ours, _seconds, FETCH_RATIO
            ),
            _bounded("peak memory of downloading it", fetch.peak_memory, FETCH_MEMORY),
            _compared(
                "the same, already there (usual way: sha256sum)", fetch.sha256sum, fetch.cached, _seconds, CACHED_RATIO
            ),
        ]
    return COLUMNS, rows


def _again_rows(build: BuildComparison) -> list[tuple[str, ...]]:
    if build.again is None:
        return []
    what = "build after a change of guest files (usual way: our whole build)"
    return [_compared(what, [build.ours.seconds], [build.again.seconds], _seconds, AGAIN_RATIO)]


def _boot_rows(boot: BootComparison) -> list[tuple[str, ...]]:
    rows = [_compared("start to SSH", boot.base, boot.ours, _seconds, BOOT_RATIO), *_stage_rows(boot)]
    if boot.floor:
        what = "start to SSH (usual way: an init that only reports)"
        rows.append(_compared(what, boot.floor, boot.ours, _seconds, FLOOR_RATIO))
    if boot.little and boot.much:
        what = "start to the first command on 3023, 128 MiB (usual way: 2 GiB)"
        rows.append(_compared(what, boot.much, boot.little, _seconds, LITTLE_MEMORY_RATIO))
    for memory, ours in (("128 MiB", boot.little), ("2 GiB", boot.much)):
        if boot.base_command and ours:
            what = f"start to the first command on 3023, {memory} (usual way: the base with a seed, on 22, 2 GiB)"
            rows.append(_compared(what, boot.base_command, ours, _seconds))
    return rows


def _stage_rows(boot: BootComparison) -> list[tuple[str, ...]]:
    if not boot.stages or not boot.base_stages:
        return []
    parts: dict[str, Callable[[Stages], float]] = {
        "firmware and boot loader": lambda stages: stages.loader,
        "kernel and initramfs": lambda stages: stages.kernel,
        "services up to SSH": lambda stages: stages.services,
    }
    return [
        _compared(
            f"of it {what}", [part(one) for one in boot.base_stages], [part(one) for one in boot.stages], _seconds
        )
        for what, part in parts.items()
    ]


def _memory_row(memory: MemoryMeasurement) -> tuple[str, ...]:
    floor = memory.floor_mib
    reached = floor is not None and floor <= MEMORY_FLOOR_MIB
    return (
        "least memory",
        "",
        "none" if floor is None else f"{floor} MiB",
        "",
        f"≤ {MEMORY_FLOOR_MIB} MiB",
        _verdict(reached=reached),
    )


def markdown(record: PerformanceRecord) -> str:
    """The figures with everything they depend on, for docs/performance.md."""
    columns, rows = table(record)
    lines = [columns, ("---",) * len(columns), *rows]
    parts = ["\n".join(f"| {' | '.join(cells)} |" for cells in lines)]
    if record.build:
        parts.append(f"Where the time went. The classic recipe: {_step_list(record.build.classic.steps)}.")
        parts.append(f"Our build: {_step_list(record.build.ours.steps)}.")
        if record.build.again:
            parts.append(f"Our build after a change of guest files: {_step_list(record.build.again.steps)}.")
    if record.boot:
        boot = record.boot
        parts.append(
            f"Starts: {len(boot.ours)} of each, with {boot.cpus} CPUs and {boot.memory_mib} MiB. "
            f"The base with its seed: {_list(boot.base)}. Our image: {_list(boot.ours)}."
        )
        if boot.base_little:
            parts.append(f"The base with its seed in QEMU's default memory: {boot.base_little}.")
    if record.memory:
        trials = "; ".join(trial.outcome() for trial in record.memory.trials)
        parts.append(f"Starts with less and less memory, to the end of some work with Python, git and curl: {trials}.")
    here = record.machine
    tools = ", ".join(f"{name} {version}" for name, version in here.tools.items())
    reason = here.accelerator_reason.replace("`", "'")  # C programs quote with it
    commit = f"{record.commit[:12]}{', with changes' if record.dirty else ''}"
    parts.append(
        f"Measured {record.measured_at:%Y-%m-%d %H:%M} UTC at commit {commit}; image `{record.definition}`, base "
        f"`{record.base}` ({record.base_sha256[:12]})."
    )
    parts.append(
        f"Machine: {here.cpu}, {here.cores} cores, {here.memory / (1 << 30):.1f} GiB; guests run with "
        f"{here.accelerator} ({reason}); load before the run {here.load:.2f}; {tools}."
    )
    parts.append(METHOD)
    return "\n\n".join(parts) + "\n"


def _compared(
    what: str, usual: Sequence[float], ours: Sequence[float], form: Callable[[float], str], limit: float | None = None
) -> tuple[str, ...]:
    relative = ratio(ours, usual)
    return (
        what,
        _shown(spread(usual), form),
        _shown(spread(ours), form),
        _shown(relative, "{:.2f}".format),
        "" if limit is None else f"≤ {limit:.2f}",
        "" if limit is None else _verdict(reached=relative.median <= limit),
    )


def _bounded(what: str, memory: int, limit: int) -> tuple[str, ...]:
    return what, "", _megabytes(memory), "", f"< {_megabytes(limit)}", _verdict(reached=memory < limit)


def _shown(values: Spread, form: Callable[[float], str]) -> str:
    if values.count == 1:
        return form(values.median)
    return f"{form(values.median)} ({form(values.minimum)} to {form(values.maximum)})"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.0f} MB"


def _verdict(*, reached: bool) -> str:
    return "reached" if reached else "missed"


def _step_list(steps: Sequence[StepRecord]) -> str:
    return ", ".join(f"{step.title} {_seconds(step.seconds)}" for step in steps)


def _list(values: Sequence[float]) -> str:
    return ", ".join(_seconds(value) for value in values)
