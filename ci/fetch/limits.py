"""Which answers pass: the one table of statuses that another attempt may not meet, for an API and for bytes alike."""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

SECONDARY_LIMIT_SECONDS = 60.0
# No time has more digits; what has is no number to rely on.
NUMBER = re.compile(r"\d{1,12}", re.ASCII)
# In words, where the headers tell nothing; the second is of older servers:
# https://github.com/PyGithub/PyGithub/blob/v2.10.0/github/GithubRetry.py
LIMITS = ("rate limit", "abuse detection")


def passes(status: int) -> bool:
    """Whether an answer of this status may be another one the next time, from whatever server."""
    # Timeout, too early, too many: RFC 9110, 15.5.9; RFC 8470, 5.2; RFC 6585, 4.
    return status in {408, 425, 429} or status >= 500


def wait_seconds(status: int, headers: Mapping[str, str], message: str = "") -> float | None:
    """How long a server that has had enough wants to be left alone, in seconds; None where that is not what it says.

    https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if status not in {403, 429}:
        return None
    lower = {name.lower(): value for name, value in headers.items()}
    if "retry-after" in lower:
        wait = retry_after(lower["retry-after"])
        return SECONDARY_LIMIT_SECONDS if wait is None else wait
    if lower.get("x-ratelimit-remaining") == "0":
        reset = lower.get("x-ratelimit-reset", "0")
        return max(float(reset) - time.time(), 0.0) + 1 if NUMBER.fullmatch(reset) else SECONDARY_LIMIT_SECONDS
    return SECONDARY_LIMIT_SECONDS if status == 429 or any(words in message.lower() for words in LIMITS) else None


def retry_after(value: str | None) -> float | None:
    """Seconds; the header has either a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    if NUMBER.fullmatch(value.strip()):
        return float(value)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return seconds if seconds > 0 else None  # one of the two clocks is wrong
