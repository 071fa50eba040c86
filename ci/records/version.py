"""Versions of the image: the day it was made, `vYYYY.MM.DD`, and `.N` for the day's further ones.

The suffix exists because a tag once used by an immutable release can never be used again.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

from ci.host.errors import InputError

_PATTERN = re.compile(r"v(\d{4})\.(\d{2})\.(\d{2})(?:\.([1-9]\d{0,8}))?", re.ASCII)
_HINT = "A version is a day, such as v2026.11.23; for another one of the same day add .1, .2 and so on."


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version; `number` is 0 for the first of its day. Ordered by day, then number."""

    day: date
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a version; raises InputError where `text` is none."""
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise InputError(f"{text!r} is not a version", hint=_HINT)
        year, month, day, number = (int(group or 0) for group in match.groups())
        try:
            return cls(date(year, month, day), number)
        except ValueError:
            raise InputError(f"{text!r} is not a version: the calendar has no such day", hint=_HINT) from None

    @classmethod
    def today(cls, now: datetime) -> Self:
        """The first version of the day that `now` falls in, in UTC; `now` must know its time zone."""
        if now.tzinfo is None:
            raise ValueError("a time without a time zone has no day in UTC")
        return cls(now.astimezone(UTC).date())

    def __str__(self) -> str:
        suffix = f".{self.number}" if self.number else ""
        return f"v{self.day.year:04}.{self.day.month:02}.{self.day.day:02}{suffix}"
