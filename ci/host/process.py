"""Running other programs: the only module that imports `subprocess`.

Argument lists only, never a shell. A child gets no stdin and no secrets, has a deadline, and dies with its
parent. It is a process group of its own: to end it is to end what it started too, as Ctrl-C in a terminal would. What
it prints goes to the log as it comes; the end of its stderr goes into the error.
"""

import contextlib
import logging
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from ci.host.errors import HostError, ToolError, ToolTimeoutError, make_setup, toolsmith

if TYPE_CHECKING:  # who starts programs without it need not load it
    import asyncio

logger = logging.getLogger("ci.tools")

TAIL_LINES = 15
GRACE_SECONDS = 10.0
# Longer than any of our tools is silent on a machine that works.
SILENCE_SECONDS = 540.0
SECRET_SUFFIXES = ("_TOKEN", "_SECRET", "_PASSWORD", "_KEY")

# A process group of its own; Python 3.10 only knows a whole session.
_GROUP: dict[str, Any] = {"process_group": 0} if sys.version_info >= (3, 11) else {"start_new_session": True}

PIPE = subprocess.PIPE

Argument: TypeAlias = str | os.PathLike[str]
Child: TypeAlias = subprocess.Popen[str]
Launched: TypeAlias = subprocess.Popen[bytes]
Process: TypeAlias = "subprocess.Popen[Any] | asyncio.subprocess.Process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A program that ended: its exit code, its output, and the seconds it took."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


def find_tool(name: str) -> str | None:
    """The path of `name`, looked for in PATH and in the folders of administration tools."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


def require_tool(name: str) -> str:
    """The path of `name`; raises HostError where it is not installed."""
    if path := find_tool(name):
        return path
    raise HostError(
        f"{name} is not installed, or not in PATH",
        hint=f"Run `{make_setup()}`, or `{toolsmith('doctor')}` to see everything that is missing.",
    )


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without anything that looks like a credential, in a fixed locale, plus `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.endswith(SECRET_SUFFIXES)}
    return inherited | {"LC_ALL": "C.UTF-8"} | dict(extra or {})


def command_line(argv: Sequence[Argument], *, stays: bool = False) -> list[str]:
    """`argv` with the program's full path, wrapped so that the kernel kills it should we die first, unless it `stays`.

    Even SIGKILL leaves no QEMU behind: see PR_SET_PDEATHSIG in prctl(2). Only Linux has it.
    """
    logger.debug("+ %s", shlex.join(os.fspath(argument) for argument in argv))
    resolved = [require_tool(os.fspath(argv[0])), *(os.fspath(argument) for argument in argv[1:])]
    if not stays and sys.platform == "linux" and (setpriv := find_tool("setpriv")):
        return [setpriv, "--pdeathsig=KILL", "--", *resolved]
    return resolved


def run(
    argv: Sequence[Argument],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    ok: Sequence[int] = (0,),
    cwd: Argument | None = None,
    stdin: Path | None = None,
    silence: float = SILENCE_SECONDS,
) -> Completed:
    """Run a program to its end and return what it printed.

    `timeout` is in seconds, and so is `silence`, the longest without a line of output; `env` is added to the child's
    environment; `ok` are the exit codes that are no failure; `stdin` is a file to feed it. Raises ToolError
    (ToolTimeoutError past the deadline or after too long a silence), or HostError where the program is missing.
    """
    started = time.monotonic()
    with (
        stdin.open("rb") if stdin else contextlib.nullcontext(subprocess.DEVNULL) as feed,
        _running(argv, env, cwd, feed) as process,
    ):
        stdout, stderr = _Reader(process.stdout, "out"), _Reader(process.stderr, "err")
        returncode = _wait(process, started + timeout, silence, lambda: max(stdout.heard, stderr.heard))
        if returncode is None:
            kill_group(process)
            process.wait()
            late = time.monotonic() >= started + timeout
            raise ToolTimeoutError(
                f"{argv[0]} " + (f"did not end within {timeout:.0f} s" if late else f"was silent for {silence:.0f} s"),
                hint="The machine may be overloaded; the log shows how far it came.",
                details=stderr.tail() or stdout.tail(),
            )
        output = Completed(
            argv=tuple(os.fspath(argument) for argument in argv),
            returncode=returncode,
            stdout=stdout.text(),
            stderr=stderr.text(),
            seconds=time.monotonic() - started,
        )
    if returncode not in ok:
        killed = f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else ""
        raise ToolError(
            f"{shlex.join(output.argv[:2])} {killed or f'failed with exit code {returncode}'}",
            hint=f"To repeat it: {shlex.join(output.argv)}",
            details=stderr.tail() or stdout.tail(),
        )
    return output


def _wait(process: Child, deadline: float, silence: float, heard: Callable[[], float]) -> int | None:
    """The exit code; None where `deadline` passed, or `silence` seconds since something was `heard`."""
    while (left := min(deadline, heard() + silence) - time.monotonic()) > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(left)
    return process.poll()


@contextlib.contextmanager
def spawn(
    argv: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Argument | None = None,
    stdin: int = subprocess.DEVNULL,
) -> Iterator[Child]:
    """A running program with piped output, ended when the block is left."""
    with contextlib.ExitStack() as pipes, _running(argv, env, cwd, stdin) as process:
        pipes.push(process)  # closed once it has ended
        yield process


def launch(
    argv: Sequence[Argument],
    *,
    handles: Sequence[int] = (),
    output: IO[bytes] | int = subprocess.DEVNULL,
    stays: bool = False,
    env: Mapping[str, str] | None = None,
) -> Launched:
    """Start a program in a session of its own; whoever calls ends it.

    It inherits `handles`, and writes to `output`. With `stays` it outlives us.
    """
    return subprocess.Popen(
        command_line(argv, stays=stays),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=child_environment(env),
        pass_fds=handles,
        start_new_session=True,
    )


def attached(argv: Sequence[Argument]) -> int:
    """The exit code of a program that has our stdin, stdout, stderr, terminal and process group."""
    process = subprocess.Popen(command_line(argv), env=child_environment())
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()  # ssh puts the terminal back to what it was
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def kill_group(process: Process) -> None:
    """End a program and what it started, at once."""
    _send(process, signal.SIGKILL)


def _send(process: Process, signum: int) -> None:
    # It may have ended meanwhile, and been waited for without our knowledge: a thread of asyncio's does that.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signum)


@contextlib.contextmanager
def _running(
    argv: Sequence[Argument], env: Mapping[str, str] | None, cwd: Argument | None, stdin: IO[bytes] | int
) -> Iterator[Child]:
    process = subprocess.Popen(
        command_line(argv),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(env),
        cwd=cwd,
        text=True,
        errors="replace",
        **_GROUP,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            _send(process, signal.SIGTERM)
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                kill_group(process)
                process.wait()


@contextlib.asynccontextmanager
async def spawn_async(argv: Sequence[Argument]) -> "AsyncIterator[asyncio.subprocess.Process]":
    """`spawn` for an event loop: stdout and stderr are one stream of bytes."""
    import asyncio  # noqa: PLC0415

    process = await asyncio.create_subprocess_exec(
        *command_line(argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=child_environment(),
        **_GROUP,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            kill_group(process)  # a QEMU may be a script that starts the real one
        await process.wait()


class _Reader:
    """Collects one stream of a child in a thread, logs each line as it comes, and closes the stream at its end.

    `heard` is when the last one came, by the monotonic clock.

    Nobody else closes it: to close a pipe that a grandchild still holds would wait for that grandchild.
    """

    def __init__(self, stream: IO[str] | None, name: str) -> None:
        assert stream is not None  # noqa: S101 - _running() pipes both
        self._stream = stream
        self._name = name
        self._lines: list[str] = []
        self.heard = time.monotonic()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            for line in self._stream:
                self.heard = time.monotonic()
                self._lines.append(line)
                logger.debug("%s| %s", self._name, line.rstrip("\n"))

    def text(self) -> str:
        # A grandchild may hold the pipe open after the child ended; do not wait for it for ever.
        self._thread.join(GRACE_SECONDS)
        return "".join(self._lines)

    def tail(self) -> str:
        return "\n".join(self.text().splitlines()[-TAIL_LINES:])


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """A TCP port that the kernel gives to nobody while the block is entered, whichever address they ask for.

    Whoever is told of it can listen there, with SO_REUSEADDR as servers have it, QEMU's forwards too. Until then it
    refuses connections.
    """
    both = socket.has_dualstack_ipv6()
    with socket.socket(socket.AF_INET6 if both else socket.AF_INET) as holder:
        if both:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # For Linux sockets that both have this are in each other's way only once one listens, and this one never does;
        # but it picks no such port for a third, nor for a connection.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("", 0))
        yield int(holder.getsockname()[1])
