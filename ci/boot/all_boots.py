"""All boots of a test: which run at the same time, what they find, and what becomes of all when one cannot go on."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ci.boot import report, scenarios
from ci.boot.boot import BootOutcome, BootSettings, BootShape
from ci.boot.scenarios import Scenario
from ci.host import this_machine as machine
from ci.host.accelerator import Acceleration
from ci.host.errors import BootError
from ci.host.progress import Reporter
from ci.records.validation import CheckResult

# What QEMU may need beside the guest's memory, generously: without KVM it keeps the code that it translated.
QEMU_MIB = 512

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What the boots share. With `at_most` it is so many at a time, whatever they need."""

    cpus: int
    memory_mib: int
    at_most: int | None = None


def this_machine(at_most: int | None) -> Capacity:
    """The processors this process may use, and the memory that is free now."""
    memory_mib = machine.available_memory() >> 20
    return Capacity(cpus=len(os.sched_getaffinity(0)), memory_mib=memory_mib, at_most=at_most)


def fits(shape: BootShape, running: Sequence[BootShape], capacity: Capacity) -> bool:
    """Whether one more machine may start. Alone, every one may."""
    if not running:
        return True
    if capacity.at_most is not None:
        return len(running) < capacity.at_most
    together = (*running, shape)
    cpus = sum(each.cpus for each in together)
    return cpus <= capacity.cpus and sum(each.memory_mib + QEMU_MIB for each in together) <= capacity.memory_mib


def slowdown(shapes: Sequence[BootShape], capacity: Capacity) -> float:
    """How many processors of guests share one of this machine's, at worst; 1 where each has its own."""
    largest = sorted((shape.cpus for shape in shapes), reverse=True)[: capacity.at_most or 1]
    return max(1.0, sum(largest) / capacity.cpus)


async def run_side_by_side(
    planned: Sequence[Scenario], run: Callable[[Scenario], Awaitable[T]], capacity: Capacity
) -> list[T]:
    """Run all, as many at a time as fit, the longest first; return what they left in the order of `planned`.

    The first that raises ends the others. So does a cancellation.
    """
    waiting = sorted(planned, key=lambda scenario: scenario.usual_seconds, reverse=True)
    running: dict[asyncio.Future[T], Scenario] = {}
    left: dict[str, T] = {}
    try:
        while waiting or running:
            for scenario in list(waiting):
                if fits(scenario.shape, [other.shape for other in running.values()], capacity):
                    waiting.remove(scenario)
                    running[asyncio.ensure_future(run(scenario))] = scenario
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                left[running.pop(task).name] = task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return [left[scenario.name] for scenario in planned]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllBoots:
    """What all boots found, and all checks in the order of the report."""

    outcomes: tuple[BootOutcome, ...]
    checks: tuple[CheckResult, ...]
    acceleration: Acceleration

    @property
    def error(self) -> BootError | None:
        """Why the image counts as one that does not boot."""
        return next((outcome.error for outcome in self.outcomes if outcome.error is not None), None)


async def boot_all(settings: BootSettings, folder: Path, reporter: Reporter, capacity: Capacity) -> AllBoots:
    """Boot once per scenario: the first alone, the others side by side as far as `capacity` allows.

    Where the first does not come up, the others would only wait for nothing.
    """
    first, *others = (make(settings) for make in scenarios.SCENARIOS)

    async def run(planned: Sequence[Scenario]) -> list[BootOutcome]:
        """Limits grow where guests have a processor for several of theirs."""
        sharing = slowdown([scenario.shape for scenario in planned], capacity)
        scaled = replace(settings, acceleration=replace(settings.acceleration, sharing=sharing))
        return await run_side_by_side(planned, lambda scenario: _boot(scaled, scenario, folder, reporter), capacity)

    outcomes = await run([first])
    skipped: list[CheckResult] = []
    if outcomes[0].error is not None:
        reason = f"the boot {first.name} did not come up"
        skipped = [check.skipped(other.name, reason) for other in others for check in other.planned]
    else:
        with reporter.side_by_side():
            outcomes += await run(others)
    checks = [check for outcome in outcomes for check in outcome.checks]
    checks += [*skipped, *scenarios.compare_clones(outcomes)]
    return AllBoots(outcomes=tuple(outcomes), checks=tuple(checks), acceleration=settings.acceleration)


async def _boot(settings: BootSettings, scenario: Scenario, folder: Path, reporter: Reporter) -> BootOutcome:
    own = folder / scenario.name
    own.mkdir()
    title = f"Boot `{scenario.name}` ({scenario.shape.memory_mib} MiB, {scenario.shape.cpus} CPUs)"
    with reporter.step(title, silence=settings.acceleration.silence):
        outcome = await scenarios.run_scenario(settings, scenario, own)
    reporter.note(f"         {report.count(outcome.checks)}")
    return outcome
