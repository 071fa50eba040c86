"""JSON from outside, read as everybody else reads it, or not at all. Runs on Python 3.10 too, for consumers."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 32
MAX_DIGITS = 300

_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(data: bytes) -> object:
    """The value in UTF-8 without a byte order mark; raises ValueError for all of which two readers take two views."""
    if data.startswith(codecs.BOM_UTF8):
        raise ValueError("it starts with a byte order mark")
    try:
        document: object = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_whole,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON, or was cut off: {error}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_values(document)
    return document


def shown_key(key: object) -> str:
    """A key as it may stand in a message, whatever it is."""
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text) else ascii(text[:100])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown_key(key)} comes twice in one object")
        found[key] = value
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:100]} is too large a number")
    return value


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has {len(text)} digits, above the limit")
    return int(text)


def walk(document: object) -> Iterator[tuple[object, int]]:
    """Every value in a document, keys too, with how deep it is."""
    pending: list[tuple[object, int]] = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        yield value, depth
        if isinstance(value, dict):
            pending += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            pending += [(item, depth + 1) for item in value]


def _check_values(document: object) -> None:
    """Refuse what JSON's grammar permits and others choke on: deep nesting, and halves of surrogate pairs."""
    for value, depth in walk(document):
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(value, str) and _SURROGATE.search(value):
            raise ValueError(f"{shown_key(value)} has half of a surrogate pair")
