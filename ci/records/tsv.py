"""Tables that a build writes for programs: a header line, and a line of tab-separated fields for each thing."""

from collections.abc import Callable
from typing import TypeVar

from ci.host.errors import InputError

ThingT = TypeVar("ThingT")


def parse_tsv(
    data: bytes, header: str, parse_row: Callable[[str], tuple[str, ThingT]], *, what: str, where: str
) -> tuple[ThingT, ...]:
    """The things in such a table, in its order; raises InputError, which says that `where` is not `what`, and why.

    `parse_row` gives a thing with its name, which is there once, or raises ValueError.
    """

    def malformed(line: int, problem: str) -> InputError:
        return InputError(
            f"{where} is not {what}: line {line}: {problem}",
            hint="The build writes this file and nobody edits it; fetch or build it again.",
        )

    try:
        first, *rows = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise malformed(1, f"it is not text: {error}") from error
    if first != header:
        raise malformed(1, f"the first line is not {header!r}")
    if not rows or rows[-1]:
        raise malformed(len(rows) + 1, "the last line has no end: the file may have been cut off")
    found: dict[str, ThingT] = {}
    for number, row in enumerate(rows[:-1], start=2):
        try:
            name, thing = parse_row(row)
        except ValueError as error:
            raise malformed(number, str(error)) from None
        if name in found:
            raise malformed(number, f"{name} was listed before")
        found[name] = thing
    return tuple(found.values())
