"""What a person sees while it runs: steps with their time, bars for bytes, tables.

In a terminal a step is a spinner with its elapsed time, elsewhere a plain line when it begins, one a minute while it
lasts, and one when it ends; in GitHub Actions a foldable group. Everything goes to stderr; stdout is for results.
"""

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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

REMIND_SECONDS = 60


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


class Step(Protocol):
    """Shows that something is happening, and for how long.

    `limit` is how many seconds it may take, `silence` how many it may go without a sign of life.
    """

    def __call__(
        self, title: str, *, limit: float | None = None, silence: float | None = None
    ) -> AbstractContextManager[None]: ...


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
    def step(self, title: str, *, limit: float | None = None, silence: float | None = None) -> Iterator[None]:
        """Show that `title` is happening, and for how long: see Step."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with (
            self._timed(title),
            self._display(title, Progress(*columns, console=self.console, transient=True)),
            self._reminding(title, lambda: limits(limit, silence)),
        ):
            yield

    @contextmanager
    def side_by_side(self) -> Iterator[Step]:
        """Yields a `step` for what happens at the same time: it may be entered again before it was left.

        In Actions these are plain lines, for groups cannot overlap.
        """
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        progress = Progress(*columns, console=self.console, transient=True)

        @contextmanager
        def step(title: str, *, limit: float | None = None, silence: float | None = None) -> Iterator[None]:
            with self._timed(title), self._reminding(title, lambda: limits(limit, silence)):
                if not self._in_terminal:
                    self._say_begin(title)
                    yield
                    return
                task = progress.add_task(shown(title), total=None)
                try:
                    yield
                finally:
                    progress.remove_task(task)

        with progress if self._in_terminal else nullcontext():
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
        moved = 0

        def count(more: int) -> None:
            nonlocal moved
            moved += more
            advance(more)

        def so_far() -> str:
            return f" ({moved / 1e6:.0f} MB" + (f" of {total / 1e6:.0f} MB)" if total else ")")

        with (
            self._timed(title),
            self._display(title, progress, total) as advance,
            self._reminding(title, so_far),
        ):
            yield count

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
        if self._in_terminal:
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

    @property
    def _in_terminal(self) -> bool:
        return self.console.is_terminal and not self.in_actions

    @contextmanager
    def _reminding(self, title: str, more: Callable[[], str]) -> Iterator[None]:
        """Say once a minute that `title` goes on, where no spinner shows it: waiting must not look like hanging."""
        if self._in_terminal or self.console.quiet:
            yield
            return
        ended = threading.Event()
        thread = threading.Thread(target=self.remind, args=(title, more, ended.wait), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def remind(self, title: str, more: Callable[[], str], ended: Callable[[float], object]) -> None:
        """Print a line with `more` for each minute that passes before `ended`, which waits so many seconds for it."""
        for minutes in itertools.count(1):
            if ended(REMIND_SECONDS):
                return
            self.console.print(f"         {shown(title)}: {minutes} min so far{shown(more())}", soft_wrap=True)

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


def quiet_reporter() -> Reporter:
    """A reporter that shows nothing, for tests and for helpers of other programs."""
    return Reporter(Console(file=sys.stderr, quiet=True), in_actions=False)
