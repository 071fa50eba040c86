"""What an answer of GitHub's with an error status means for us: try again, not there, not allowed, or refused."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ci.fetch.source import AbsentError, TransientError
from ci.host.errors import AccessError, RejectedError, RemoteError

SECONDARY_LIMIT_SECONDS = 60.0


def from_status(status: int, headers: Mapping[str, str], body: object, request: str) -> Exception:
    """The failure that an answer with a status of 400 or more is; `body` is its JSON, of whatever shape."""
    data = body if isinstance(body, dict) else {}
    message = str(data.get("message") or "no reason given")
    lower = {name.lower(): value for name, value in headers.items()}
    if status in {403, 429} and (wait := _limit_seconds(status, lower, message)) is not None:
        return TransientError("GitHub's rate limit is reached", retry_after=wait)
    if status >= 500 or status == 408:
        return TransientError(f"status {status} at {request}")
    if status == 404:
        return AbsentError(request)
    if status == 401:
        return AccessError(
            f"GitHub does not accept the token: {message}",
            hint="It is wrong, expired or revoked; an app's token lives for one hour. Make a new one and run it again.",
        )
    if status == 403:
        return AccessError(
            f"the token may not do this: {request}: {message}",
            hint="A release needs `contents: write`, a roll-out `pull-requests: write` too. For a workflow's own token "
            "also: Settings, Actions, General, `Allow GitHub Actions to create and approve pull requests`.",
        )
    errors = [finding for finding in data.get("errors") or [] if isinstance(finding, dict)]
    reasons = [str(finding.get("message") or f"{finding.get('field')}: {finding.get('code')}") for finding in errors]
    text = f"GitHub refuses {request}: {'; '.join([message, *reasons])} (status {status})"
    return RejectedError(text, codes=[str(finding.get("code")) for finding in errors])


@contextmanager
def nothing_vanishes() -> Iterator[None]:
    """Turn an AbsentError that nobody expected into a RemoteError: somebody may work there at the same time."""
    try:
        yield
    except AbsentError as absence:
        raise RemoteError(
            f"GitHub no longer has what it had, or the token may not see it: {absence}",
            hint="Run it again: it looks anew at what is there. Nobody else should change the release meanwhile.",
        ) from absence


def _limit_seconds(status: int, headers: Mapping[str, str], message: str) -> float | None:
    """How long GitHub wants to be left alone, in seconds; None where the answer is not about a rate limit.

    `headers` have lower-case names. https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    try:
        if "retry-after" in headers:
            return float(headers["retry-after"])
        if headers.get("x-ratelimit-remaining") == "0":
            return max(float(headers.get("x-ratelimit-reset", 0)) - time.time(), 0.0) + 1
    except ValueError:
        return SECONDARY_LIMIT_SECONDS
    if status == 429 or "rate limit" in message.lower():
        return SECONDARY_LIMIT_SECONDS
    return None
