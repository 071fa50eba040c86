from typing import Any

import pytest

from ci.fetch import persistence
from ci.fetch.source import TransientError


@pytest.mark.parametrize(
    ("attempt", "retry_after", "seconds"),
    [(1, None, 1), (4, None, 8), (9, None, 30), (1, 5, 5), (1, -3, 0), (1, 99999, 120)],
)
def test_waits_grow_and_have_an_end(attempt: int, retry_after: float | None, seconds: float) -> None:
    class State:
        attempt_number = attempt

        class outcome:  # noqa: N801 - tenacity's name
            @staticmethod
            def exception() -> Exception:
                return TransientError("x", retry_after=retry_after)

    state: Any = State
    assert persistence._wait(state) == seconds
