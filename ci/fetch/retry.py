"""When to ask a server again, and how to be sure that something was done exactly once.

One policy for downloads and for GitHub: again after faults that pass, with growing pauses or as long as the server
wishes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity

from ci.fetch.source import TransientError
from ci.host.errors import FetchError, RemoteError
from ci.host.progress import Reporter

T = TypeVar("T")

ATTEMPTS = 6
LONGEST_PAUSE = 30.0
# GitHub's primary limit is counted by the hour; a job must not sleep through its own timeout.
LONGEST_RETRY_AFTER = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How many attempts in a row may bring nothing, and how long one of them may take.

    `timeout` is in seconds: for an answer's headers, redirects included, and then without a byte. An answer that brings
    fewer than `crawl` bytes per second over such a time counts as hanging. An upload has `upload_timeout`, and the time
    that its bytes take at the `slowest` of bytes per second.
    """

    attempts: int = ATTEMPTS
    sleep: Callable[[float], None] = time.sleep
    timeout: float = 60
    crawl: int = 4096
    upload_timeout: float = 120.0
    slowest: float = 500_000.0
    seconds_between_requests: float = 0.25
    seconds_between_writes: float = 1.0


class Persistence:
    """Repeats what failed in passing. What fails for good, or too often, raises a `failure`."""

    def __init__(
        self, patience: Patience, reporter: Reporter, failure: type[RemoteError] | type[FetchError] = RemoteError
    ) -> None:
        self.patience = patience
        self.reporter = reporter
        self._failure = failure

    def read(self, what: str, call: Callable[[], T], moved: Callable[[], bool] = lambda: False) -> T:
        """Ask until there is an answer. `what` completes "... failed".

        Where a failed attempt `moved` things on all the same, the count of attempts starts again.
        """
        doubted = False

        def attempt() -> T:
            nonlocal doubted
            try:
                return call()
            except TransientError as failure:
                if failure.final and doubted:
                    raise failure.final from None
                doubted = doubted or failure.final is not None
                raise

        def start_again(state: tenacity.RetryCallState) -> None:
            nonlocal doubted
            if moved():
                state.attempt_number, doubted = 1, False

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passing),
            stop=tenacity.stop_after_attempt(self.patience.attempts),
            wait=_wait,
            after=start_again,
            before_sleep=lambda state: self._announce(what, state),
            sleep=self.patience.sleep,
            reraise=True,
        )
        try:
            return retrying(attempt)
        except TransientError as failure:
            raise self._exhausted(what, failure) from failure

    def write(self, what: str, call: Callable[[], T], done: Callable[[], T | None] = lambda: None) -> T:
        """Do something once: before a repetition, `done` looks whether an earlier attempt took effect after all.

        A request whose answer was lost may have been carried out. Where repeating is harmless, leave `done` out.
        """
        made = False

        def attempt() -> T:
            nonlocal made
            if made and (earlier := done()) is not None:
                return earlier
            made = True
            return call()

        return self.read(what, attempt)

    def _announce(self, what: str, state: tenacity.RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        self.reporter.note(
            f"{what} failed: {failure}; trying again in {state.upcoming_sleep:.0f} s "
            f"(attempt {state.attempt_number + 1} of {self.patience.attempts})"
        )

    def _exhausted(self, what: str, failure: TransientError) -> RemoteError | FetchError:
        if not _passing(failure):
            return self._failure(
                f"{what} failed: {failure.reason}, for another {failure.retry_after or 0:.0f} s",
                hint="Run it again after that time: it continues where it stopped.",
            )
        return self._failure(
            f"{what} failed: {failure.reason} (tried {self.patience.attempts} times)",
            hint="Run it again: it continues where it stopped. Check the network and the proxy settings; "
            "https://www.githubstatus.com tells of GitHub's outages.",
        )


def _passing(failure: BaseException) -> bool:
    return isinstance(failure, TransientError) and (failure.retry_after or 0) <= LONGEST_RETRY_AFTER


def _wait(state: tenacity.RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    if isinstance(failure, TransientError) and failure.retry_after is not None:
        return max(failure.retry_after, 0.0)
    return float(min(2 ** (state.attempt_number - 1), LONGEST_PAUSE))
