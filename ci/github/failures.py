"""What an answer of GitHub's with an error status means for us: try again, not there, not allowed, or refused."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ci.fetch.source import AbsentError, TransientError
from ci.host.errors import AccessError, RefusedError, RejectedError, RemoteError

SECONDARY_LIMIT_SECONDS = 60.0
# What is made in a repository that was just read: that there is nothing can only be said of what may not be seen.
_MADE = re.compile(r"POST /(releases|pulls|git/\w+)$")
_PULLS_OF_ACTIONS = "not permitted to create or approve pull requests"


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
        return _not_allowed(request, message, lower) if _MADE.match(request) else AbsentError(request)
    if status == 401:
        return AccessError(
            f"GitHub does not accept the token: {message}",
            hint="It is wrong, expired or revoked; an app's token lives for one hour. Make a new one and run it again.",
        )
    if status == 403:
        return _not_allowed(request, message, lower)
    errors = [finding for finding in data.get("errors") or [] if isinstance(finding, dict)]
    reasons = [str(finding.get("message") or f"{finding.get('field')}: {finding.get('code')}") for finding in errors]
    text = f"GitHub refuses {request}: {'; '.join([message, *reasons])} (status {status})"
    return RejectedError(text, codes=[str(finding.get("code")) for finding in errors])


def _not_allowed(request: str, message: str, headers: Mapping[str, str]) -> Exception:
    """Of what the token may not do, with what is missing as exactly as GitHub tells; `headers` have lower-case names.

    https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible
    """
    text = f"the token may not do this: {request}: {message}"
    if "archived" in message:
        return RefusedError(f"the repository is archived: {request}: {message}", hint="Unarchive it in its settings.")
    if _PULLS_OF_ACTIONS in message:
        return AccessError(
            text,
            hint="Settings, Actions, General: `Allow GitHub Actions to create and approve pull requests`, of the "
            "organization too; or use an app's token.",
        )
    if (scopes := headers.get("x-oauth-scopes")) is not None:
        return AccessError(
            f"{text}; its scopes are: {scopes or 'none'}",
            hint="It takes `repo`, `workflow` too where the commit has other workflows than the default branch, and an "
            "account that may write to the repository.",
        )
    ways = [way.strip() for way in headers.get("x-accepted-github-permissions", "").split(";") if way.strip()]
    if not ways:
        return AccessError(text, hint="A release needs `contents: write`, a roll-out `pull-requests: write` too.")
    needs = ", or ".join(way.replace("_", "-").replace(",", " and ").replace("=", ": ") for way in ways)
    hint = f"Give it `{needs}`."
    if "workflows" in needs:
        hint += (
            " Where it has `contents: write` already, the commit has other workflows than the default branch, and it "
            "takes `workflows: write`, which no GITHUB_TOKEN has: push the tag first, or use another token."
        )
    return AccessError(f"{text}: it needs {needs}", hint=hint)


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
