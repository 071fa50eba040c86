"""All boots of a test: which run at the same time, what they find, and what becomes of all when one cannot go on."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.boot import interruptible, report, scenarios
from ci.boot.boot import Boot, BootSettings, Scenario
from ci.host import this_machine as machine
from ci.host.accelerator import Acceleration
from ci.host.errors import BootError
from ci.host.progress import Reporter
from ci.records.validation import CheckResult

# What QEMU may need beside the guest's memory, generously: without KVM it keeps the code that it translated.
QEMU_MIB = 512


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


def fits(scenario: Scenario, running: Sequence[Scenario], capacity: Capacity) -> bool:
    """Whether one more machine may start. Alone, every one may."""
    if not running:
        return True
    if capacity.at_most is not None:
        return len(running) < capacity.at_most
    together = (*running, scenario)
    cpus = sum(each.cpus for each in together)
    return cpus <= capacity.cpus and sum(each.memory_mib + QEMU_MIB for each in together) <= capacity.memory_mib


def slowdown(planned: Sequence[Scenario], capacity: Capacity) -> float:
    """How many processors of guests share one of this machine's, at worst; 1 where each has its own."""
    largest = sorted((scenario.cpus for scenario in planned), reverse=True)[: capacity.at_most or 1]
    return max(1.0, sum(largest) / capacity.cpus)


async def run_side_by_side(
    planned: Sequence[Scenario], run: Callable[[Scenario], Awaitable[None]], capacity: Capacity
) -> None:
    """Run all, as many at a time as fit, the longest first.

    The first that raises ends the others. So does a cancellation.
    """
    running: list[Scenario] = []
    changed = asyncio.Condition()

    async def run_when_it_fits(scenario: Scenario) -> None:
        async with changed:
            await changed.wait_for(lambda: fits(scenario, running, capacity))
            running.append(scenario)
        await run(scenario)
        async with changed:
            running.remove(scenario)
            changed.notify_all()

    longest_first = sorted(planned, key=lambda scenario: scenario.usual_seconds, reverse=True)
    await interruptible.together(*map(run_when_it_fits, longest_first))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllBoots:
    """What all boots found, and all checks in the order of the report."""

    boots: tuple[Boot, ...]
    checks: tuple[CheckResult, ...]
    acceleration: Acceleration

    @property
    def error(self) -> BootError | None:
        """Why the image counts as one that does not boot."""
        return next((boot.error for boot in self.boots if boot.error is not None), None)


async def boot_all(settings: BootSettings, folder: Path, reporter: Reporter, capacity: Capacity) -> AllBoots:
    """Boot once per scenario: the first alone, the others side by side as far as `capacity` allows.

    Where the first does not come up, the others would only wait for nothing.
    """
    first, *others = scenarios.all_scenarios(settings.memory_mib)

    async def run(planned: Sequence[Scenario]) -> list[Boot]:
        """Limits grow where guests have a processor for several of theirs."""
        scaled = replace(settings, acceleration=replace(settings.acceleration, sharing=slowdown(planned, capacity)))
        made = {one.name: Boot(scenario=one, settings=scaled, folder=folder / one.name) for one in planned}
        await run_side_by_side(planned, lambda scenario: _run(made[scenario.name], reporter), capacity)
        return list(made.values())

    boots = await run([first])
    skipped: list[CheckResult] = []
    if boots[0].error is not None:
        reason = f"the boot {first.name} did not come up"
        skipped = [check.skipped(other.name, reason) for other in others for check in other.planned]
    else:
        with reporter.side_by_side():
            boots += await run(others)
    checks = (*(check for boot in boots for check in boot.checks), *skipped, *scenarios.compare_clones(boots))
    return AllBoots(boots=tuple(boots), checks=checks, acceleration=settings.acceleration)


async def _run(boot: Boot, reporter: Reporter) -> None:
    boot.folder.mkdir()
    title = f"Boot `{boot.name}` ({boot.scenario.memory_mib} MiB, {boot.scenario.cpus} CPUs)"
    with reporter.step(title, silence=boot.settings.acceleration.silence):
        await boot.run()
    reporter.note(f"         {report.count(boot.checks)}")
