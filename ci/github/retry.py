"""When to ask GitHub again, and how to be sure that something was done exactly once."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from ci.fetch.source import TransientError
from ci.host.errors import RemoteError
from ci.host.progress import Reporter

T = TypeVar("T")

ATTEMPTS = 6
LONGEST_WAIT = 30.0
# GitHub's primary limit is counted by the hour; a job must not sleep through its own timeout.
LONGEST_LIMIT_WAIT = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """`timeout` is in seconds without a byte; `slowest` in bytes per second bounds one attempt of an upload."""

    timeout: int = 30
    upload_timeout: float = 120.0
    slowest: float = 500_000.0
    attempts: int = ATTEMPTS
    seconds_between_requests: float = 0.25
    seconds_between_writes: float = 1.0
    sleep: Callable[[float], None] = time.sleep


class Persistence:
    """Repeats what failed in passing. What fails for good, or too often, is a RemoteError."""

    def __init__(self, patience: Patience, reporter: Reporter) -> None:
        self.patience = patience
        self.reporter = reporter

    def read(self, what: str, call: Callable[[], T]) -> T:
        """Ask until there is an answer. `what` completes "... failed"."""
        return self._repeat(what, lambda _again: call())

    def write(self, what: str, call: Callable[[], T], done: Callable[[], T | None] = lambda: None) -> T:
        """Do something once: before a repetition, `done` looks whether an earlier attempt took effect after all.

        A request whose answer was lost may have been carried out. Where repeating is harmless, leave `done` out.
        """

        def attempt(again: bool) -> T:  # noqa: FBT001 - called below only
            if again and (earlier := done()) is not None:
                return earlier
            return call()

        return self._repeat(what, attempt)

    def _repeat(self, what: str, attempt: Callable[[bool], T]) -> T:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passing),
            stop=tenacity.stop_after_attempt(self.patience.attempts),
            wait=_wait,
            before_sleep=lambda state: self._announce(what, state),
            sleep=self.patience.sleep,
            reraise=True,
        )
        try:
            for state in retrying:
                with state:
                    return attempt(state.retry_state.attempt_number > 1)
        except TransientError as failure:
            raise _exhausted(what, failure, self.patience.attempts) from failure
        raise AssertionError("tenacity ends with a result or an exception")

    def _announce(self, what: str, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        self.reporter.note(
            f"{what} failed: {failure}; trying again in {state.upcoming_sleep:.0f} s "
            f"(attempt {state.attempt_number + 1} of {self.patience.attempts})"
        )


def _passing(failure: BaseException) -> bool:
    return isinstance(failure, TransientError) and (failure.retry_after or 0) <= LONGEST_LIMIT_WAIT


def _wait(state: tenacity.RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, TransientError) and failure.retry_after is not None:
        return max(failure.retry_after, 0.0)
    return float(min(2 ** (state.attempt_number - 1), LONGEST_WAIT))


def _exhausted(what: str, failure: TransientError, attempts: int) -> RemoteError:
    if not _passing(failure):
        return RemoteError(
            f"{what} failed: {failure.reason}, for another {failure.retry_after or 0:.0f} s",
            hint="Run it again after that time: it continues where it stopped.",
        )
    return RemoteError(
        f"{what} failed: {failure.reason} (tried {attempts} times)",
        hint="Run it again: it continues where it stopped. https://www.githubstatus.com tells of outages.",
    )
