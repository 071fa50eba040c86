"""What every entrypoint shares: the log, signals, and turning failures into exit codes.

Runs on Python 3.10 too, for consumers of the image.
"""

import argparse
import contextlib
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from ci.host import actions
from ci.host.errors import Interrupted, ToolsmithError
from ci.host.files import signals_handled
from ci.host.progress import Reporter, shown
from ci.host.secrets import MaskingFilter, masked

INTERRUPTED = "nothing partial was left under a final name; it can be run again"

RequestT = TypeVar("RequestT")

Main = Callable[[argparse.Namespace, Reporter], object]


def parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """An argument parser with the flags that all entrypoints have."""
    result = argparse.ArgumentParser(
        prog=prog, description=description, epilog="Exit codes: docs/exit-codes.md", allow_abbrev=False
    )
    result.add_argument("--verbose", action="store_true", help="show the output of the tools (it is always in the log)")
    result.add_argument("--log", type=Path, metavar="FILE", help="where the log goes (default: a new file)")
    return result


def filled(request: type[RequestT], options: argparse.Namespace, **others: object) -> RequestT:
    """A request, a dataclass, with the values of the flags that are called as its fields are, and `others`."""
    named = {name: getattr(options, name) for name in request.__annotations__ if name in options}
    return request(**named | others)


def run(main: Main, arguments: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Run an entrypoint and return its exit code.

    A ToolsmithError becomes a message with what to do next. Any other exception is a bug and passes, with its
    traceback.
    """
    options = arguments.parse_args(argv)
    log = options.log or _default_log(arguments.prog)
    reporter = Reporter()
    # Interrupted is raised where the signal finds us, so that every `with` cleans up.
    with signals_handled(_interrupt), _logging(log, verbose=options.verbose):
        try:
            main(options, reporter)
        except ToolsmithError as failure:
            logging.getLogger("ci").debug("failed", exc_info=True)
            _explain(failure, reporter, log)
            return failure.exit_code
        except Interrupted as interruption:
            reporter.console.print(f"[red]interrupted[/]: {INTERRUPTED}")
            if reporter.in_actions:
                actions.append_summary(f"**Interrupted:** {INTERRUPTED}")
            return interruption.exit_code
        else:
            return 0
        finally:
            logging.getLogger("ci").debug("peak memory: %d bytes", peak_memory())


def _explain(failure: ToolsmithError, reporter: Reporter, log: Path) -> None:
    console = reporter.console
    if failure.details:
        console.print(shown(failure.details), style="dim", soft_wrap=True)
    if reporter.in_actions:
        actions.tell("error", masked(f"{failure.message}\n{failure.hint}").rstrip())
        actions.append_summary(masked(f"**Failed:** {failure.message}\n\n{failure.hint}"))
    console.print(f"[bold red]error:[/] {shown(failure.message)}", soft_wrap=True)
    if failure.hint:
        console.print(f"[bold]next:[/]  {shown(failure.hint)}", soft_wrap=True)
    console.print(f"[dim]log:   {shown(os.fspath(log))}[/]", soft_wrap=True)


def _default_log(prog: str) -> Path:
    name = prog.rpartition(".")[2]
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = Path(os.environ.get("TOOLSMITH_LOGS") or Path(tempfile.gettempdir()) / f"toolsmith-logs-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{name}-{stamp}-{os.getpid()}.log"


@contextlib.contextmanager
def _logging(log: Path, *, verbose: bool) -> Iterator[None]:
    log.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    to_file = logging.FileHandler(log, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
    handlers: list[logging.Handler] = [to_file]
    if verbose:
        to_terminal = logging.StreamHandler(sys.stderr)
        to_terminal.addFilter(lambda record: record.name.startswith("ci"))
        handlers.append(to_terminal)
    logging.getLogger("ci").setLevel(logging.DEBUG)
    for handler in handlers:
        handler.addFilter(MaskingFilter())
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    # A second signal must not break the clean-up the first one started.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted(signum)


def peak_memory() -> int:
    """The most memory this process ever held, in bytes; 0 where the system does not tell.

    Not getrusage(2)'s figure, which counts what the parent held before exec.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
