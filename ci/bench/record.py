"""What one run of the bench measured, on which machine, and how it is shown."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypeAlias

from pydantic import Field

from ci.host.progress import Reporter
from ci.records.record import Part, Record
from ci.text import figures, markdown
from ci.text.markdown import Markdown

COLUMNS = ("what", "usual way", "ours", "ratio", "target", "")

Unit: TypeAlias = Literal["seconds", "milliseconds", "bytes", "MiB"]

FORMS: Final[dict[Unit, Callable[[float], str]]] = {
    "seconds": figures.seconds,
    "milliseconds": "{:.0f} ms".format,
    "bytes": lambda value: figures.megabytes(round(value)),
    "MiB": "{:.0f} MiB".format,
}


class Compared(Part):
    """A figure of the usual way and of ours, equal positions being pairs. `target` is the most their ratio may be."""

    what: str
    unit: Unit = "seconds"
    usual: list[float] = Field(min_length=1)
    ours: list[float] = Field(min_length=1)
    target: float

    def cells(self) -> tuple[str, ...]:
        """Its row of the table; the ratio is of the medians, with the extremes of the pairs."""
        form = FORMS[self.unit]
        usual, ours = statistics.median(self.usual), statistics.median(self.ours)
        pairs = [mine / theirs for mine, theirs in zip(self.ours, self.usual, strict=True)]
        return (
            self.what,
            _spread(usual, self.usual, form),
            _spread(ours, self.ours, form),
            _spread(ours / usual, pairs, "{:.2f}".format),
            *_verdict(ours / usual, self.target, "{:.2f}".format),
        )


class Bounded(Part):
    """A figure of ours, and the most that it may be; None where nothing was found that works."""

    what: str
    unit: Unit
    ours: float | None
    target: float

    def cells(self) -> tuple[str, ...]:
        form = FORMS[self.unit]
        shown = "none" if self.ours is None else form(self.ours)
        return self.what, "", shown, "", *_verdict(self.ours, self.target, form)


class MeasuredPart(Part):
    """What a part of the bench found: rows of the table, and paragraphs below it."""

    rows: list[Compared | Bounded]
    notes: tuple[str, ...] = ()


class PerformanceRecord(Record):
    """One run, and the parts that were measured by their names.

    `memory` is the machine's, in bytes; `load` is its average of the minute before.
    """

    schema_: Literal["fountainkit-toolsmith-image/performance/1"] = Field(
        default="fountainkit-toolsmith-image/performance/1", alias="schema"
    )
    measured_at: datetime
    definition: str
    base: str
    base_sha256: str
    commit: str
    dirty: bool
    cpu: str
    cores: int
    memory: int
    accelerator: str
    accelerator_reason: str
    load: float
    tools: list[str]
    parts: dict[str, MeasuredPart]

    def rows(self) -> list[tuple[str, ...]]:
        """The figures, each beside its target."""
        return [row.cells() for part in self.parts.values() for row in part.rows]

    def markdown(self) -> str:
        """The figures with everything they depend on, for docs/performance.md."""
        commit = f"{self.commit[:12]}{', with changes' if self.dirty else ''}"
        reason = self.accelerator_reason.replace("`", "'")  # C programs quote with it
        measured = (
            f"Measured {self.measured_at:%Y-%m-%d %H:%M} UTC at commit {commit}; image `{self.definition}`, base "
            f"`{self.base}` ({self.base_sha256[:12]})."
        )
        machine = (
            f"Machine: {self.cpu}, {self.cores} cores, {self.memory / (1 << 30):.1f} GiB; guests run with "
            f"{self.accelerator} ({reason}); load before the run {self.load:.2f}; {', '.join(self.tools)}."
        )
        table = markdown.table(COLUMNS, [tuple(map(Markdown, cells)) for cells in self.rows()])
        notes = (note for part in self.parts.values() for note in part.notes)
        return "\n\n".join((table, *notes, measured, machine)) + "\n"


def in_turns(ways: Mapping[str, Callable[[], float]], times: int, reporter: Reporter) -> dict[str, list[float]]:
    """The figures of each of the ways, so many times: what else happens on the machine meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(1, times + 1):
        for name, measure in ways.items():
            with reporter.step(f"{number} of {times}: {name}"):
                found[name].append(measure())
    return found


def _spread(middle: float, values: Sequence[float], form: Callable[[float], str]) -> str:
    """The figure, with the smallest and the largest behind it where there are several."""
    return form(middle) + (f" ({form(min(values))} to {form(max(values))})" if len(values) > 1 else "")


def _verdict(figure: float | None, target: float, form: Callable[[float], str]) -> tuple[str, str]:
    return f"≤ {form(target)}", "reached" if figure is not None and figure <= target else "missed"
