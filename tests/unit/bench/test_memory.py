from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from ci.bench import memory
from ci.bench.memory import STEPS_MIB, never_failing
from ci.host.errors import BootError
from tests.support.quiet import quiet_reporter

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


def test_patience_is_with_what_worked_and_each_start_says_how_long_it_took_or_why_it_failed(
    mocker: MockerFixture,
) -> None:
    taken = {128: 20.0, 96: 30.0, 80: BootError("the kernel panicked"), 88: 10.0}
    mocker.patch.object(memory, "our_image", return_value=Path("ours.qcow2"))
    mocker.patch.object(memory, "consumer_spec", side_effect=lambda _subject, _image, mib: mib)
    starts = mocker.patch.object(memory, "start_to_command", side_effect=[taken[mib] for mib in (128, 96, 80, 88, 88)])
    (row,), (note,) = (part := memory.measure_memory(mocker.sentinel.subject, 1, quiet_reporter())).rows, part.notes
    assert row.ours == 88
    assert [call.kwargs["limit"] for call in starts.call_args_list] == [None, 80.0, 120.0, 120.0, 120.0]
    assert [call.args[1] for call in starts.call_args_list] == [128, 96, 80, 88, 88]
    assert "128 MiB: 20.0 s; 96 MiB: 30.0 s; 80 MiB: the kernel panicked; 88 MiB: 10.0 s" in note
