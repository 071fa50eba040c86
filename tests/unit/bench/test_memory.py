from collections.abc import Callable

import pytest

from ci.bench.memory import STEPS_MIB, MemoryTrial, never_failing, slowest

STEPS = (64, 72, 80, 88, 96, 104, 112, 120, 128)


def trying(works: Callable[[int, int], bool]) -> tuple[Callable[[int], bool], list[int]]:
    """A machine that works or not by its memory and by how often it was started with that; and all starts."""
    tried: list[int] = []

    def start(mib: int) -> bool:
        tried.append(mib)
        return works(mib, tried.count(mib))

    return start, tried


@pytest.mark.parametrize("floor", STEPS)
def test_the_least_memory_that_works_is_found(floor: int) -> None:
    start, tried = trying(lambda mib, _: mib >= floor)
    assert never_failing(STEPS, start, 3) == floor
    assert tried.count(floor) >= 3
    assert len(tried) <= 1 + 4 + 3


def test_memory_that_works_now_and_then_is_not_enough() -> None:
    start, _ = trying(lambda mib, time: mib > 96 or (mib == 96 and time == 1))
    assert never_failing(STEPS, start, 3) == 104


def test_where_the_most_does_not_do_nothing_less_is_tried() -> None:
    start, tried = trying(lambda _mib, _time: False)
    assert never_failing(STEPS, start, 3) is None
    assert tried == [128]


def test_qemus_default_is_the_most_that_is_tried() -> None:
    assert STEPS_MIB == STEPS


def test_patience_is_with_what_worked() -> None:
    trials = [MemoryTrial(mib=128, seconds=20.0), MemoryTrial(mib=96, seconds=30.0), MemoryTrial(mib=64, seconds=None)]
    assert slowest(trials) == 30.0


def test_a_trial_says_how_long_it_took_or_why_it_failed() -> None:
    assert str(MemoryTrial(mib=128, seconds=40.0)) == "128 MiB: 40.0 s"
    assert str(MemoryTrial(mib=96, seconds=None, failure="the kernel panicked")) == "96 MiB: the kernel panicked"
