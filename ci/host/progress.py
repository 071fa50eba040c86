"""What a person sees while it runs: steps with their time, bars for bytes, tables.

In a terminal a step is a spinner with its elapsed time, elsewhere a plain line when it begins, one a minute while it
lasts, and one when it ends. Everything goes to stderr; stdout is for results.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from ci.host import actions
from ci.host.secrets import masked

Advance = Callable[[int], None]

REMIND_SECONDS = 60
BAR = (BarColumn, DownloadColumn, TransferSpeedColumn, TimeRemainingColumn)


def shown(text: str) -> str:
    """`text` as it may be printed on a console: without secrets, and without being taken for markup."""
    return escape(masked(text))


def short_path(path: Path) -> str:
    """`path` as a person would type it here: relative where it is below the current folder."""
    absolute, here = path.absolute(), Path.cwd()
    return os.fspath(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """How long a step took; part of a build's record."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's name, without need of pydantic here

    title: str
    seconds: float


class Reporter:
    """Tells a person what is happening, and remembers how long each step took."""

    def __init__(self, console: Console | None = None, *, in_actions: bool | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.in_actions = actions.in_actions() if in_actions is None else in_actions
        self.steps: list[StepTime] = []
        self._shared: Progress | None = None

    def note(self, text: str) -> None:
        """A line of plain information."""
        self.console.print(shown(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something the user should know, which does not stop the run."""
        if self.in_actions:
            actions.tell("warning", masked(text))
        else:
            self.console.print(f"[yellow]warning:[/] {shown(text)}", soft_wrap=True)

    @contextmanager
    def step(self, title: str, *, limit: float | None = None, silence: float | None = None) -> Iterator[None]:
        """Show that `title` is happening, and for how long.

        `limit` is how many seconds it may take, `silence` how many it may go without a sign of life.
        """
        with self._lasting(title, lambda: limits(limit, silence)), self._displayed(title, TimeElapsedColumn):
            yield

    @contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Within, a step may begin before another has ended."""
        self._shared = self._progress(TimeElapsedColumn)
        try:
            with self._shared if self._in_terminal else nullcontext():
                yield
        finally:
            self._shared = None

    @contextmanager
    def transfer(self, title: str, total: int | None) -> Iterator[Advance]:
        """Show bytes moving; yields a function to be told how many have. `total` is None when it is not known."""
        moved = 0

        def count(more: int) -> None:
            nonlocal moved
            moved += more
            advance(more)

        def so_far() -> str:
            return f" ({moved / 1e6:.0f} MB" + (f" of {total / 1e6:.0f} MB)" if total else ")")

        with self._lasting(title, so_far), self._displayed(title, *BAR, total=total) as advance:
            yield count

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; it folds long cells on a narrow terminal."""
        table = Table(title=shown(title), title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(shown(cell) for cell in row))
        self.console.print(table)

    def _progress(self, *columns: Callable[[], ProgressColumn]) -> Progress:
        made = (column() for column in columns)
        return Progress(SpinnerColumn(), TextColumn("{task.description}"), *made, console=self.console, transient=True)

    @contextmanager
    def _displayed(
        self, title: str, *columns: Callable[[], ProgressColumn], total: int | None = None
    ) -> Iterator[Advance]:
        if self._in_terminal:
            with nullcontext(self._shared) if self._shared else self._progress(*columns) as progress:
                task = progress.add_task(shown(title), total=total)
                try:
                    yield lambda count: progress.advance(task, count)
                finally:
                    progress.remove_task(task)
        else:
            self.console.print(f"         {shown(title)} …", soft_wrap=True)
            yield lambda _: None

    @property
    def _in_terminal(self) -> bool:
        return self.console.is_terminal and not self.in_actions

    @contextmanager
    def _lasting(self, title: str, more: Callable[[], str]) -> Iterator[None]:
        """Time a step; where no spinner shows it, say once a minute that it goes on: it must not look like hanging."""
        started, ended = time.monotonic(), threading.Event()
        thread = threading.Thread(target=self.remind, args=(title, more, ended.wait), daemon=True)
        if not (self._in_terminal or self.console.quiet):
            thread.start()
        try:
            yield
        except BaseException:
            self.console.print(f"[red]{time.monotonic() - started:7.1f}s {shown(title)}: failed[/]", soft_wrap=True)
            raise
        finally:
            ended.set()
            if thread.ident:
                thread.join()
        seconds = time.monotonic() - started
        self.steps.append(StepTime(title=title, seconds=round(seconds, 2)))
        self.console.print(f"{seconds:7.1f}s {shown(title)}", soft_wrap=True)

    def remind(self, title: str, more: Callable[[], str], ended: Callable[[float], object]) -> None:
        """Print a line with `more` for each minute that passes before `ended`, which waits so many seconds for it."""
        for minutes in itertools.count(1):
            if ended(REMIND_SECONDS):
                return
            self.console.print(f"         {shown(title)}: {minutes} min so far{shown(more())}", soft_wrap=True)


def limits(limit: float | None, silence: float | None) -> str:
    """What ends a step that lasts, in brackets; '' where nothing does."""
    words = []
    if limit is not None:
        words.append(f"at most {duration(limit)}")
    if silence is not None:
        words.append(f"{duration(silence)} without a sign of life end it")
    return f" ({'; '.join(words)})" if words else ""


def duration(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
