from itertools import takewhile

import pytest

from ci.boot.vm.ssh import gap_after


def begun(seconds: float) -> list[float]:
    """When connections are begun to a guest that greets none for so long."""
    times = [0.0]
    while times[-1] <= seconds:
        times.append(times[-1] + gap_after(times[-1]))
    return list(takewhile(lambda time: time <= seconds, times))


@pytest.mark.parametrize(("seconds", "at_most"), [(2, 1), (10, 5), (30, 8), (75, 13)])
def test_a_guest_that_comes_up_late_has_few_connections_waiting_for_it(seconds: float, at_most: int) -> None:
    assert len(begun(seconds)) <= at_most


def test_a_guest_that_comes_up_is_soon_asked_again() -> None:
    assert gap_after(5) <= 3
    assert gap_after(600) <= 12  # as often as QEMU offers it one that it has
