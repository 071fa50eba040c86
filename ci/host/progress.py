"""What a person sees: steps with their time, bars for bytes, tables, errors; and on stdout what was asked for.

In a terminal a step is a spinner with its elapsed time, elsewhere a plain line when it begins, one a minute while it
lasts, and one when it ends. Everything goes to stderr; stdout is for results.

Nobody else writes to either, so that all text, whoever wrote it, is shown as `shown` has it; a test looks for others.
"""

import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console
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
from rich.text import Text

from ci.host import actions
from ci.host.errors import ToolsmithError
from ci.host.secrets import masked
from ci.text.markdown import Markdown, quoted
from ci.text.visible import printed

Advance = Callable[[int], None]

REMIND_SECONDS = 60
BAR = (BarColumn, DownloadColumn, TransferSpeedColumn, TimeRemainingColumn)


def shown(text: str, style: str = "") -> Text:
    """`text` as it may be printed: without secrets, and as nothing but text to a terminal, to rich and to Actions."""
    return Text(printed(masked(text)), style=style)


def write_result(text: str, *, path: bool = False) -> None:
    """Print what a command was asked for on stdout; a `path` is left as it is for programs, which open it."""
    told = masked(text)
    if not path or sys.stdout.isatty():
        told = printed(told)
    if isinstance(sys.stdout, TextIOWrapper):
        # A path may hold bytes that are no text, and a terminal lack letters.
        sys.stdout.reconfigure(errors="surrogateescape" if path else "backslashreplace")
    sys.stdout.write(told.rstrip("\n") + "\n")


def write_json(document: object) -> None:
    """The same of a document. DEL is the one control character that JSON does not require to be escaped."""
    write_result(json.dumps(document, indent=2).replace("\x7f", r"\u007f"))


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
        self._console = console or Console(stderr=True, highlight=False)
        self.in_actions = actions.in_actions() if in_actions is None else in_actions
        self.steps: list[StepTime] = []
        self._shared: Progress | None = None

    def _print(self, *parts: Text | str | tuple[str, str]) -> None:
        self._console.print(Text.assemble(*parts), soft_wrap=True)

    def note(self, text: str) -> None:
        """A line of plain information."""
        self._print(shown(text))

    def warn(self, text: str) -> None:
        """Something the user should know, which does not stop the run."""
        if self.in_actions:
            actions.tell("warning", masked(text))
        else:
            self._print(("warning:", "yellow"), " ", shown(text))

    def error(self, failure: ToolsmithError, log: str = "") -> None:
        """What ends the run, what to do next, and where the log is."""
        if failure.details:
            self._print(shown(failure.details, "dim"))
        if self.in_actions:
            told = masked(f"{failure.message}\n{failure.hint}").rstrip()
            actions.tell("error", told)
            actions.append_summary(Markdown("**Failed:**\n\n{}").format(quoted(told)))
        self._print(("error:", "bold red"), " ", shown(failure.message))
        if failure.hint:
            self._print(("next:", "bold"), "  ", shown(failure.hint))
        if log:
            self._print(shown(f"log:   {log}", "dim"))

    def interrupted(self, told: Markdown) -> None:
        """That a person, or the system, ended the run; the text is ours."""
        self._print(("interrupted", "red"), f": {told}")
        if self.in_actions:
            actions.append_summary(Markdown("**Interrupted:** {}").format(told))

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
        self._print(shown(title, "bold"))  # not the table's own, of which a line could begin with anything
        table = Table()
        for column in columns:
            table.add_column(shown(column), overflow="fold")
        for row in rows:
            table.add_row(*(shown(cell) for cell in row))
        self._console.print(table)

    def _progress(self, *columns: Callable[[], ProgressColumn]) -> Progress:
        shown = (SpinnerColumn(), TextColumn("{task.description}", markup=False), *(column() for column in columns))
        return Progress(*shown, console=self._console, transient=True)

    @contextmanager
    def _displayed(
        self, title: str, *columns: Callable[[], ProgressColumn], total: int | None = None
    ) -> Iterator[Advance]:
        if self._in_terminal:
            with nullcontext(self._shared) if self._shared else self._progress(*columns) as progress:
                task = progress.add_task(shown(title).plain, total=total)
                try:
                    yield lambda count: progress.advance(task, count)
                finally:
                    progress.remove_task(task)
        else:
            self._print(shown(f"         {title} …"))
            yield lambda _: None

    @property
    def _in_terminal(self) -> bool:
        return self._console.is_terminal and not self.in_actions

    @contextmanager
    def _lasting(self, title: str, more: Callable[[], str]) -> Iterator[None]:
        """Time a step; where no spinner shows it, say once a minute that it goes on: it must not look like hanging."""
        started, ended = time.monotonic(), threading.Event()
        thread = threading.Thread(target=self.remind, args=(title, more, ended.wait), daemon=True)
        if not (self._in_terminal or self._console.quiet):
            thread.start()
        try:
            yield
        except BaseException:
            self._print(shown(f"{time.monotonic() - started:7.1f}s {title}: failed", "red"))
            raise
        finally:
            ended.set()
            if thread.ident:
                thread.join()
        seconds = time.monotonic() - started
        self.steps.append(StepTime(title=title, seconds=round(seconds, 2)))
        self._print(shown(f"{seconds:7.1f}s {title}"))

    def remind(self, title: str, more: Callable[[], str], ended: Callable[[float], object]) -> None:
        """Print a line with `more` for each minute that passes before `ended`, which waits so many seconds for it."""
        for minutes in itertools.count(1):
            if ended(REMIND_SECONDS):
                return
            self._print(shown(f"         {title}: {minutes} min so far{more()}"))


def silent() -> Reporter:
    """A reporter that tells nothing, for where what is shown is somebody else's."""
    return Reporter(Console(quiet=True), in_actions=False)


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
