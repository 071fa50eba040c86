"""Which boots run at the same time, and what becomes of all when one cannot go on."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ci.boot.boot import BootShape
from ci.boot.scenarios import Scenario
from ci.host.this_machine import ThisMachine

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
    return Capacity(
        cpus=len(os.sched_getaffinity(0)), memory_mib=ThisMachine().available_memory() >> 20, at_most=at_most
    )


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


async def run_all(
    scenarios: Sequence[Scenario], run: Callable[[Scenario], Awaitable[T]], capacity: Capacity
) -> list[T]:
    """Run all, as many at a time as fit, the longest first; return what they left in the order of `scenarios`.

    The first that raises ends the others. So does a cancellation.
    """
    waiting = sorted(scenarios, key=lambda scenario: scenario.usual_seconds, reverse=True)
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
    return [left[scenario.name] for scenario in scenarios]
