"""What an answer of GitHub's with an error status means for us: try again, not there, not allowed, or refused."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ci.fetch.limits import passes, retry_after, wait_seconds
from ci.fetch.source import AbsentError, TransientError, printable
from ci.host.errors import AccessError, RejectedError, RemoteError


def from_status(status: int, headers: Mapping[str, str], body: object, request: str) -> Exception:
    """The failure that an answer with a status of 400 or more is; `body` is its JSON, of whatever shape."""
    data = body if isinstance(body, dict) else {}
    message = printable(str(data.get("message") or "no reason given"))
    if (wait := wait_seconds(status, headers, message)) is not None:
        return TransientError("GitHub's rate limit is reached", retry_after=wait)
    if passes(status):
        return TransientError(f"status {status} at {request}", retry_after=retry_after(headers.get("Retry-After")))
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
    found = data.get("errors")
    errors = [finding for finding in found if isinstance(finding, dict)] if isinstance(found, list) else []
    told = (str(finding.get("message") or f"{finding.get('field')}: {finding.get('code')}") for finding in errors[:10])
    reasons = [printable(text) for text in told]
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
