"""Read checks.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.boot.checks.check import Expectation, ImageCheck, accepts_nothing, exactly, json_with, matching, number_within


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Checks of one kind, in the order in which they are asked."""

    title: str
    intro: str
    checks: tuple[ImageCheck, ...]


def read_chapters(text: str) -> tuple[Chapter, ...]:
    """The chapters of a file like checks.toml; raises TypeError or ValueError where one is not as it should be."""
    document = tomllib.loads(text)
    chapters = tuple(
        Chapter(
            title=section["title"],
            intro=section["intro"],
            checks=tuple(_check(name, entry, document["words"]) for name, entry in section["check"].items()),
        )
        for section in document["section"]
    )
    names = [check.id for chapter in chapters for check in chapter.checks]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"more than one check is called {', '.join(sorted(twice))}")
    return chapters


def _check(name: str, entry: Mapping[str, Any], words: Mapping[str, str]) -> ImageCheck:
    fields = dict(entry)
    for word, text in words.items():
        fields = {key: v.replace(f"@{word}@", text) if isinstance(v, str) else v for key, v in fields.items()}
    if ("command" in fields) == ("by_hand" in fields):
        raise ValueError(f"{name}: either a command or what to do by hand")
    prints = fields.pop("prints") if "command" in fields else {"means": fields.pop("expected")}
    return ImageCheck(id=name, boots=tuple(fields.pop("boots")), expected=_expectation(prints), **fields)


def _expectation(prints: Any) -> Expectation:  # noqa: ANN401 - as TOML has it
    match prints:
        case str(text):
            return exactly(*(text.split("\n") if text else ()))
        case {"pattern": pattern, "means": meaning}:
            return matching(pattern, meaning)
        case {"at_least": low, "unit": unit}:
            return number_within(low, prints.get("at_most"), unit)
        case {"json": values}:
            return json_with(values)
        case {"means": meaning}:
            return Expectation(meaning, accepts_nothing)
        case _:
            raise ValueError(f"nothing can be expected like that: {prints}")


CHAPTERS = read_chapters(Path(__file__).with_name("checks.toml").read_text(encoding="utf-8"))
CHECKS = {check.id: check for chapter in CHAPTERS for check in chapter.checks}


def checks_of(boot: str) -> tuple[ImageCheck, ...]:
    """What is asked in a boot, in its order."""
    return tuple(check for check in CHECKS.values() if boot in check.boots)
