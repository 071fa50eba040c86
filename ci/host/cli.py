"""What every entrypoint shares: the log, signals, and turning failures into exit codes.

Runs on Python 3.10 too, for consumers of the image.
"""

import argparse
import contextlib
import io
import logging
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, NoReturn, TypeVar

from ci.host.errors import HostError, Interrupted, ToolsmithError
from ci.host.files import interrupting, signals_handled
from ci.host.open_folder import OpenFolder
from ci.host.progress import Reporter
from ci.host.secrets import mask_proxies, masked
from ci.host.workspace import CACHE_NAME
from ci.text.markdown import Markdown
from ci.text.visible import printed

INTERRUPTED = Markdown("nothing partial was left under a final name; it can be run again")
# Of all commands together; older ones are removed.
KEPT_LOGS = 100
KEPT_SECONDS = 24 * 60 * 60

RequestT = TypeVar("RequestT")

Main = Callable[[argparse.Namespace, Reporter], object]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(printed(masked(message)))


class _LogFormatter(logging.Formatter):
    """Without secrets and with nothing unseen in whole records, whoever wrote them, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return printed(masked(super().format(record)))


def parser(prog: str, description: str | None, codes: str = "docs/exit-codes.md") -> argparse.ArgumentParser:
    """An argument parser with the flags that all entrypoints have; `codes` is what is to be known of exit codes."""
    result = _Parser(prog=prog, description=description, epilog=f"Exit codes: {codes}", allow_abbrev=False)
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
    mask_proxies(os.environ)
    sys.excepthook = _traceback
    options = arguments.parse_args(argv)
    reporter = Reporter()
    try:
        to_file = _named_log(options.log) if options.log else _new_log(arguments.prog)
    except (OSError, HostError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error.message
        hint = "Name another place, with --log or TOOLSMITH_LOGS."
        reporter.error(HostError(f"the log cannot be written: {reason}", hint=hint))
        return HostError.exit_code
    # Interrupted is raised where the signal finds us, so that every `with` cleans up.
    with signals_handled(_interrupt), _logging(to_file, verbose=options.verbose):
        try:
            main(options, reporter)
        except ToolsmithError as failure:
            logging.getLogger("ci").debug("failed", exc_info=True)
            reporter.error(failure, to_file.baseFilename)
            return failure.exit_code
        except Interrupted as interruption:
            reporter.interrupted(INTERRUPTED)
            return interruption.exit_code
        else:
            return 0
        finally:
            logging.getLogger("ci").debug("peak memory: %d bytes", peak_memory())


def _traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(printed(masked("".join(traceback.format_exception(kind, error, trace)))))


class _Log(logging.FileHandler):
    """The log, of which `file` is opened already: by its name it may be another one. A full disk ends no run."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        super().__init__(path, delay=True)
        self.stream = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace")
        self._failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            sys.stderr.write(f"warning: the log is not whole: {error.strerror}\n")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def _named_log(path: Path) -> _Log:
    with OpenFolder.at(path.parent, create=True) as folder:
        return _Log(path, folder.lock_file(path.name))


def _new_log(prog: str) -> _Log:
    """A new file in `TOOLSMITH_LOGS`, or where nobody else can put a link that we would write to."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    if chosen := os.environ.get("TOOLSMITH_LOGS"):
        folder = Path(chosen)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    else:
        folder = _private_folder()
    handle, name = tempfile.mkstemp(prefix=f"{stamp}-{prog.rpartition(' ')[2]}-", suffix=".log", dir=folder)
    return _Log(Path(name), os.fdopen(handle, "wb"))


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
    to_file.setFormatter(_LogFormatter("%(asctime)s %(name)s %(message)s"))
    handlers: list[logging.Handler] = [to_file]
    if verbose:
        to_terminal = logging.StreamHandler(sys.stderr)
        to_terminal.setFormatter(_LogFormatter())
        to_terminal.addFilter(lambda record: record.name.startswith("ci"))
        handlers.append(to_terminal)
    logging.getLogger("ci").setLevel(logging.DEBUG)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    # A second signal must not break the clean-up the first one started.
    for number in interrupting():
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
