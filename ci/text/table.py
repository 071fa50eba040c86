"""A table that can be shown as Markdown and on a terminal."""

from collections.abc import Sequence
from dataclasses import dataclass

from ci.text.markdown import Markdown, cell, table
from ci.text.visible import visible


@dataclass(frozen=True, slots=True)
class TitledTable:
    """A title and a table. A cell that is no `Markdown` is foreign, and escaped the way each form needs it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self, rows: int | None = None) -> Markdown:
        """The table of at most so many rows, without the title; nothing where it has none."""
        return table(self.columns, [tuple(map(cell, row)) for row in self.rows[:rows]])

    def titled(self, rows: int | None = None) -> Markdown:
        """The same under its title, which is ours."""
        return Markdown(f"{self.title}:\n\n{self.markdown(rows)}")

    def text(self) -> str:
        """The table in columns; nothing where it has no rows."""
        if not self.rows:
            return ""
        lines = [[visible(text) for text in row] for row in (self.columns, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )
