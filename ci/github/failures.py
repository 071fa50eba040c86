"""What an answer of GitHub's with an error status means for us: try again, not there, not allowed, or refused."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ci.fetch.limits import passes, retry_after, wait_seconds
from ci.fetch.source import AbsentError, TransientError, printable
from ci.host.errors import AccessError, RefusedError, RejectedError, RemoteError

# What is made in a repository that was just read, or never goes away: no pull request does, and of a missing reference
# GitHub says 422. That there is nothing can only be said of what may not be seen.
_THERE = re.compile(r"POST /(releases|pulls|git/\w+)$|PATCH /(pulls/\d+|git/refs/.+)$")
PULLS_OF_ACTIONS = "not permitted to create or approve pull requests"


def from_status(status: int, headers: Mapping[str, str], body: object, request: str) -> Exception:
    """The failure that an answer with a status of 400 or more is; `body` is its JSON, of whatever shape."""
    data = body if isinstance(body, dict) else {}
    message = printable(str(data.get("message") or "no reason given"))
    lower = {name.lower(): printable(value) for name, value in headers.items()}
    if (wait := wait_seconds(status, headers, message)) is not None:
        return TransientError("GitHub's rate limit is reached", retry_after=wait)
    if passes(status):
        return TransientError(f"status {status} at {request}", retry_after=retry_after(headers.get("Retry-After")))
    if status == 404:
        return _not_allowed(request, message, lower) if _THERE.match(request) else AbsentError(request)
    if status == 401:
        return AccessError(
            f"GitHub does not accept the token: {message}",
            hint="It is wrong, expired or revoked; an app's token lives for one hour. Make a new one and run it again.",
        )
    if status == 403:
        return _not_allowed(request, message, lower)
    found = data.get("errors")
    errors = [finding for finding in found if isinstance(finding, dict)] if isinstance(found, list) else []
    told = (str(finding.get("message") or f"{finding.get('field')}: {finding.get('code')}") for finding in errors[:10])
    reasons = [printable(text) for text in told]
    text = f"GitHub refuses {request}: {'; '.join([message, *reasons])} (status {status})"
    return RejectedError(text, codes=[str(finding.get("code")) for finding in errors])


def _not_allowed(request: str, message: str, headers: Mapping[str, str]) -> Exception:
    """Of what the token may not do, with what is missing as exactly as GitHub tells; `headers` have lower-case names.

    https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible
    """
    text = f"the token may not do this: {request}: {message}"
    if "archived" in message:
        return RefusedError(f"the repository is archived: {request}: {message}", hint="Unarchive it in its settings.")
    if PULLS_OF_ACTIONS in message:
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
    if "read" in needs:
        # What is asked for first is a look; the writes that follow need more.
        hint = "A release needs `contents: write`, a roll-out `contents: write` and `pull-requests: write`."
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
