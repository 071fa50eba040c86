"""What a person sees while it runs: steps with their time, bars for bytes, tables.

In a terminal a step is a spinner with its elapsed time, elsewhere a plain line when it begins and one when it ends,
in GitHub Actions a foldable group. Everything goes to stderr; stdout is for results.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
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


def shown(text: str) -> str:
    """`text` as it may be printed on a console: without secrets, and without being taken for markup."""
    return escape(masked(text))


def short_path(path: Path) -> str:
    """`path` as a person would type it here: relative where it is below the current folder."""
    absolute, here = path.absolute(), Path.cwd()
    return os.fspath(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """How long a step took."""

    title: str
    seconds: float


class Reporter:
    """Tells a person what is happening, and remembers how long each step took."""

    def __init__(self, console: Console | None = None, *, in_actions: bool | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.in_actions = actions.in_actions() if in_actions is None else in_actions
        self.steps: list[StepTime] = []

    def note(self, text: str) -> None:
        """A line of plain information."""
        self.console.print(shown(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something the user should know, which does not stop the run."""
        if self.in_actions:
            actions.warning(masked(text))
        else:
            self.console.print(f"[yellow]warning:[/] {shown(text)}", soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show that `title` is happening, and for how long."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with self._timed(title), self._display(title, Progress(*columns, console=self.console, transient=True)):
            yield

    @contextmanager
    def side_by_side(self) -> Iterator[Callable[[str], AbstractContextManager[None]]]:
        """Yields a `step` for what happens at the same time: it may be entered again before it was left.

        In Actions these are plain lines, for groups cannot overlap.
        """
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        progress = Progress(*columns, console=self.console, transient=True)
        in_terminal = self.console.is_terminal and not self.in_actions

        @contextmanager
        def step(title: str) -> Iterator[None]:
            with self._timed(title):
                if not in_terminal:
                    self._say_begin(title)
                    yield
                    return
                task = progress.add_task(shown(title), total=None)
                try:
                    yield
                finally:
                    progress.remove_task(task)

        with progress if in_terminal else nullcontext():
            yield step

    @contextmanager
    def transfer(self, title: str, total: int | None) -> Iterator[Advance]:
        """Show bytes moving; yields a function to be told how many have. `total` is None when it is not known."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        progress = Progress(*columns, console=self.console, transient=True)
        with self._timed(title), self._display(title, progress, total) as advance:
            yield advance

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table; it folds long cells on a narrow terminal."""
        table = Table(title=shown(title), title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(shown(cell) for cell in row))
        self.console.print(table)

    @contextmanager
    def _display(self, title: str, progress: Progress, total: int | None = None) -> Iterator[Advance]:
        if self.console.is_terminal and not self.in_actions:
            with progress:
                task = progress.add_task(shown(title), total=total)
                yield lambda count: progress.advance(task, count)
        elif self.in_actions:
            actions.start_group(masked(title))
            try:
                yield lambda _: None
            finally:
                actions.end_group()
        else:
            self._say_begin(title)
            yield lambda _: None

    def _say_begin(self, title: str) -> None:
        self.console.print(f"         {shown(title)} …", soft_wrap=True)

    @contextmanager
    def _timed(self, title: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        except BaseException:
            self.console.print(f"[red]{time.monotonic() - started:7.1f}s {shown(title)}: failed[/]", soft_wrap=True)
            raise
        seconds = time.monotonic() - started
        self.steps.append(StepTime(title=title, seconds=round(seconds, 2)))
        self.console.print(f"{seconds:7.1f}s {shown(title)}", soft_wrap=True)


def quiet_reporter() -> Reporter:
    """A reporter that shows nothing, for tests and for helpers of other programs."""
    return Reporter(Console(file=sys.stderr, quiet=True), in_actions=False)
