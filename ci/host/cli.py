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
from ci.host.errors import HostError, Interrupted, ToolsmithError
from ci.host.files import signals_handled
from ci.host.open_folder import OpenFolder
from ci.host.progress import Reporter, shown
from ci.host.secrets import MaskingFilter, masked
from ci.host.workspace import CACHE_NAME

INTERRUPTED = "nothing partial was left under a final name; it can be run again"
# Of all commands together; older ones are removed.
KEPT_LOGS = 100
KEPT_SECONDS = 24 * 60 * 60

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
    reporter = Reporter()
    try:
        to_file = _named_log(options.log) if options.log else _new_log(arguments.prog)
    except OSError as error:
        what = f"the log {error.filename} cannot be written: {error.strerror}"
        _explain(HostError(what, hint="Name another place, with --log or TOOLSMITH_LOGS."), reporter)
        return HostError.exit_code
    # Interrupted is raised where the signal finds us, so that every `with` cleans up.
    with signals_handled(_interrupt), _logging(to_file, verbose=options.verbose):
        try:
            main(options, reporter)
        except ToolsmithError as failure:
            logging.getLogger("ci").debug("failed", exc_info=True)
            _explain(failure, reporter, to_file.baseFilename)
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


def _explain(failure: ToolsmithError, reporter: Reporter, log: str = "") -> None:
    console = reporter.console
    if failure.details:
        console.print(shown(failure.details), style="dim", soft_wrap=True)
    if reporter.in_actions:
        actions.tell("error", masked(f"{failure.message}\n{failure.hint}").rstrip())
        actions.append_summary(masked(f"**Failed:** {failure.message}\n\n{failure.hint}"))
    console.print(f"[bold red]error:[/] {shown(failure.message)}", soft_wrap=True)
    if failure.hint:
        console.print(f"[bold]next:[/]  {shown(failure.hint)}", soft_wrap=True)
    if log:
        console.print(f"[dim]log:   {shown(log)}[/]", soft_wrap=True)


def _named_log(path: Path) -> logging.FileHandler:
    path.parent.mkdir(parents=True, exist_ok=True)
    return logging.FileHandler(path, encoding="utf-8")


def _new_log(prog: str) -> logging.FileHandler:
    """A new file in `TOOLSMITH_LOGS`, or where nobody else can put a link that we would write to."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    if chosen := os.environ.get("TOOLSMITH_LOGS"):
        folder = Path(chosen)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        folder = _private_folder()
    handle, name = tempfile.mkstemp(prefix=f"{stamp}-{prog.rpartition(' ')[2]}-", suffix=".log", dir=folder)
    result = logging.FileHandler(name, encoding="utf-8", delay=True)
    result.stream = os.fdopen(handle, "w", encoding="utf-8")  # not opened by its name again, which may be another's
    return result


def _private_folder() -> Path:
    """Our folder in the user's state (XDG Base Directory), of the last logs; a new one where that is not ours alone."""
    base = Path(os.environ.get("XDG_STATE_HOME") or "")
    try:
        folder = (base if base.is_absolute() else Path.home() / ".local" / "state") / CACHE_NAME / "logs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with OpenFolder.at(folder.parent) as parent, parent.folder(folder.name) as own:
            found = os.fstat(own.handle)
            if found.st_uid == os.geteuid() and os.access(folder, os.W_OK):
                os.fchmod(own.handle, 0o700)
                for old in [name for name in own.names() if name.endswith(".log")][:-KEPT_LOGS]:
                    if (log := own.state(old)) and log.st_mtime < time.time() - KEPT_SECONDS:  # else a run may be on
                        own.remove(old)
                return folder
    except (OSError, RuntimeError, HostError):  # such as no home, or one that cannot be written to
        pass
    return Path(tempfile.mkdtemp(prefix="toolsmith-logs-"))


@contextlib.contextmanager
def _logging(to_file: logging.FileHandler, *, verbose: bool) -> Iterator[None]:
    root = logging.getLogger()
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
