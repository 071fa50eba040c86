import asyncio
from dataclasses import replace

import pytest

from ci.boot.all_boots import QEMU_MIB, Capacity, fits, run_side_by_side, slowdown
from ci.boot.boot import Boot, Ports, Scenario
from ci.host.errors import HostError

PLENTY = 1 << 20


async def nothing(_boot: Boot, _ports: Ports) -> None:
    pass


BIG = Scenario(name="clone", memory_mib=2048, cpus=2, usual_seconds=16, play=nothing)
SMALL = Scenario(name="consumer", memory_mib=128, cpus=1, usual_seconds=31, play=nothing)
THREE = (BIG, SMALL, replace(BIG, name="seed", usual_seconds=38))


class Runs:
    """Boots that go on until they are told to end."""

    def __init__(self, faulty: str = "") -> None:
        self.faulty = faulty
        self.events: list[str] = []
        self.running: dict[str, asyncio.Event] = {}
        self.most = 0

    async def __call__(self, scenario: Scenario) -> None:
        self.events.append(f"+{scenario.name}")
        ended = self.running[scenario.name] = asyncio.Event()
        self.most = max(self.most, len(self.running))
        try:
            await ended.wait()
        except asyncio.CancelledError:
            self.events.append(f"cancelled {scenario.name}")
            raise
        finally:
            del self.running[scenario.name]
        self.events.append(f"-{scenario.name}")
        if scenario.name == self.faulty:
            raise HostError("a port is in use")

    async def end(self, *names: str) -> None:
        for name in names:
            self.running[name].set()
            for _ in range(5):
                await asyncio.sleep(0)


def played(runs: Runs, capacity: Capacity, *ends: str) -> None:
    async def play() -> None:
        task = asyncio.ensure_future(run_side_by_side(THREE, runs, capacity))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await runs.end(*ends)
        await task

    asyncio.run(play())


def test_with_two_processors_two_machines_of_two_are_one_after_the_other() -> None:
    runs = Runs()
    played(runs, Capacity(cpus=2, memory_mib=PLENTY), "seed", "consumer", "clone")
    assert runs.events == ["+seed", "-seed", "+consumer", "-consumer", "+clone", "-clone"]


def test_with_four_processors_the_short_one_waits_for_the_first_that_ends() -> None:
    runs = Runs()
    played(runs, Capacity(cpus=4, memory_mib=PLENTY), "consumer", "seed", "clone")
    assert runs.events == ["+seed", "+consumer", "-consumer", "+clone", "-seed", "-clone"]


def test_what_a_person_allows_counts_and_not_the_processors() -> None:
    runs = Runs()
    played(runs, Capacity(cpus=1, memory_mib=0, at_most=2), "seed", "consumer", "clone")
    assert runs.events[:2] == ["+seed", "+consumer"]
    assert runs.most == 2


def test_a_fault_of_the_host_ends_the_other_boots_and_starts_no_more() -> None:
    runs = Runs(faulty="consumer")
    with pytest.raises(HostError, match="a port is in use"):
        played(runs, Capacity(cpus=4, memory_mib=PLENTY), "consumer")
    assert runs.events == ["+seed", "+consumer", "-consumer", "cancelled seed"]
    assert runs.running == {}


def test_an_interrupt_ends_all_boots() -> None:
    runs = Runs()

    async def interrupted() -> None:
        task = asyncio.ensure_future(run_side_by_side(THREE, runs, Capacity(cpus=8, memory_mib=PLENTY)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert runs.running == {}

    asyncio.run(interrupted())
    assert sorted(runs.events[3:]) == ["cancelled clone", "cancelled consumer", "cancelled seed"]


def test_memory_that_is_not_there_is_not_used() -> None:
    both = BIG.memory_mib + SMALL.memory_mib + 2 * QEMU_MIB
    assert fits(SMALL, [BIG], Capacity(cpus=8, memory_mib=both))
    assert not fits(SMALL, [BIG], Capacity(cpus=8, memory_mib=both - 1))


def test_alone_a_machine_may_start_wherever() -> None:
    assert fits(BIG, [], Capacity(cpus=1, memory_mib=0))


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (Capacity(cpus=2, memory_mib=0), 1.0),
        (Capacity(cpus=64, memory_mib=0, at_most=3), 1.0),
        (Capacity(cpus=1, memory_mib=0), 2.0),
        (Capacity(cpus=2, memory_mib=0, at_most=2), 2.0),
        (Capacity(cpus=2, memory_mib=0, at_most=9), 2.5),
    ],
)
def test_limits_grow_with_what_has_to_share_a_processor(capacity: Capacity, expected: float) -> None:
    assert slowdown(THREE, capacity) == expected
