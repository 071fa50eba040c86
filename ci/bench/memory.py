"""Measure the least memory in which the image is of use, as Toolsmith starts it. Part of `python -m ci.bench`.

Of use is: it starts, lets in by SSH on port 3023, and Python, git and curl do some work there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.bench.boots import BOOT_SECONDS, consumer_spec, start_to_command
from ci.bench.builds import BenchSubject
from ci.bench.record import Bounded, MeasuredPart
from ci.host.errors import BootError
from ci.host.progress import Reporter
from ci.text import figures

STEPS_MIB = tuple(range(64, 129, 8))
# In less memory than is enough a guest may swap for ever rather than end.
PATIENCE = 4

WORK = (
    """python3 -c 'import json, sqlite3, ssl, urllib.request; print(json.dumps({"works": True}))'""",
    (
        "git init -q /tmp/work && cd /tmp/work && cp /etc/os-release . && git add . && "
        "git -c user.name=x -c user.email=x@localhost commit -q -m x && git fsck --strict"
    ),
    "curl -s -S file:///etc/os-release | grep -q ^ID=",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryTrial:
    """One start with `mib` MiB; `seconds` to the end of the work there, None with the reason where it failed."""

    mib: int
    seconds: float | None
    failure: str = ""

    def __str__(self) -> str:
        return f"{self.mib} MiB: {self.failure if self.seconds is None else figures.seconds(self.seconds)}"


def measure_memory(subject: BenchSubject, image: Path, boots: int, reporter: Reporter) -> MeasuredPart:
    """Find the least memory by bisection, then start there `boots` times: the floor is where all of them work."""
    trials: list[MemoryTrial] = []

    def works(mib: int) -> bool:
        limit = PATIENCE * slowest(trials) if trials else subject.acceleration.scaled(BOOT_SECONDS)
        with reporter.step(f"Start with {mib} MiB"):
            trials.append(try_with(subject, image, mib, limit))
        reporter.note(f"         {trials[-1]}")
        return trials[-1].seconds is not None

    row = Bounded(what="least memory", unit="MiB", ours=never_failing(STEPS_MIB, works, boots), target=STEPS_MIB[-1])
    listed = "; ".join(map(str, trials))
    note = f"Starts with less and less memory, to the end of some work with Python, git and curl: {listed}."
    return MeasuredPart(rows=[row], notes=(note,))


def slowest(trials: Sequence[MemoryTrial]) -> float:
    """The seconds of the slowest trial that worked."""
    return max((trial.seconds for trial in trials if trial.seconds is not None), default=float(BOOT_SECONDS))


def never_failing(steps: Sequence[int], works: Callable[[int], bool], times: int) -> int | None:
    """The least of the ascending `steps` that works `times` times; None where not even the last does.

    What works with less is taken to work with more, so only the floor itself is tried more than once.
    """
    if not works(steps[-1]):
        return None
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if works(steps[middle]) else (middle + 1, high)
    for step in steps[low:]:
        if all(works(step) for _ in range(times)):
            return step
    return None


def try_with(subject: BenchSubject, image: Path, mib: int, limit: float) -> MemoryTrial:
    """One start; its seconds are to the end of the last command."""
    try:
        seconds = start_to_command(subject, consumer_spec(subject, image, mib), *WORK, limit=limit)
    except BootError as error:
        return MemoryTrial(mib=mib, seconds=None, failure=error.message)
    return MemoryTrial(mib=mib, seconds=seconds)
