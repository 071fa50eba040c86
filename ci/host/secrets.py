"""Tokens: read once, and masked in everything this process writes."""

import logging
import re
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType

from ci.host import actions

MASK = "***"
# Shorter values would mask ordinary words.
SHORTEST = 8

_values: set[str] = set()


def read_secret(environ: Mapping[str, str], name: str) -> str | None:
    """The value of an environment variable, masked from now on; None where it is not set, or empty."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    mask(value)
    return value


def mask(value: str) -> None:
    """Never show `value` again, neither here nor, in Actions, in the log of the run."""
    if len(value) < SHORTEST or value in _values:
        return
    _values.add(value)
    sys.excepthook = _masked_traceback
    if actions.in_actions():
        actions.tell("add-mask", value)


def masked(text: str) -> str:
    """`text` without the values given to `mask`."""
    if not _values:
        return text
    longest_first = sorted(_values, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text)


class MaskingFilter(logging.Filter):
    """Masks whole log records, whoever wrote them, tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; always keeps it."""
        if _values:
            record.msg, record.args = masked(record.getMessage()), None
            if record.exc_info and not record.exc_text:
                record.exc_text = masked("".join(traceback.format_exception(*record.exc_info)).rstrip())
        return True


def _masked_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:  # pragma: no cover - runs at the end of the process
    sys.stderr.write(masked("".join(traceback.format_exception(kind, error, trace))))
