"""How long a download is tried: again after faults that pass, with growing pauses, until it brings nothing any more.

Runs on Python 3.10 too, for consumers of the image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from ci.fetch.source import TransientError
from ci.host.errors import FetchError
from ci.host.progress import Reporter

T = TypeVar("T")

LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many attempts in a row may bring nothing, who is told of them, and how to pass the time between them."""

    reporter: Reporter
    attempts: int
    sleep: Callable[[float], None]


def persist(shown: str, patience: Patience, attempt: Callable[[], T], moved: Callable[[], bool]) -> T:
    """Try until it works, or until so many attempts in a row brought nothing. Raises FetchError in the end."""

    def start_again(state: tenacity.RetryCallState) -> None:
        if moved():
            state.attempt_number = 1

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(TransientError),
        stop=tenacity.stop_after_attempt(patience.attempts),
        wait=_wait,
        after=start_again,
        before_sleep=lambda state: _announce(shown, patience, state),
        sleep=patience.sleep,
        reraise=True,
    )
    try:
        return retrying(attempt)
    except TransientError as failure:
        raise FetchError(
            f"{shown} could not be fetched: {failure.reason} (tried {patience.attempts} times)",
            hint="Check the network and the proxy settings, then run it again: it continues where it stopped.",
        ) from None


def _wait(state: tenacity.RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, TransientError) and failure.retry_after is not None:
        return min(max(failure.retry_after, 0.0), LONGEST_RETRY_AFTER)
    return float(min(2 ** (state.attempt_number - 1), LONGEST_WAIT))


def _announce(shown: str, patience: Patience, state: tenacity.RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome else None
    patience.reporter.note(
        f"{shown}: {failure}; trying again in {state.upcoming_sleep:.0f} s "
        f"(attempt {state.attempt_number + 1} of {patience.attempts})"
    )
