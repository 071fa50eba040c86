"""From an image to a machine that can be logged in to, and what ends it where that fails."""

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ci.host import process
from ci.host.accelerator import Acceleration
from ci.host.errors import BootError, HostError, InputError, ToolsmithError
from ci.host.files import delayed_signals, open_file
from ci.host.qcow2 import QCOW2_MAGIC, SECTOR_BYTES, header_problems
from ci.host.qemu import QEMU
from ci.machine import ssh
from ci.machine.agent import Agent
from ci.machine.channel import connected
from ci.machine.exit import explain_exit
from ci.machine.identity import GO_ON
from ci.machine.monitor import Monitor
from ci.machine.spec import AGENT, CHANNELS, CONSOLE, MONITOR, SessionSpec, StateFiles
from ci.machine.watch import LIMIT_SECONDS, Watch

# What is started here, and what a person without our setup installs for it.
PROGRAMS = {
    QEMU: "Debian, Ubuntu: apt-get install qemu-system-x86; macOS: brew install qemu.",
    "ssh": "Debian, Ubuntu: apt-get install openssh-client.",
    "ssh-keygen": "Debian, Ubuntu: apt-get install openssh-client.",
}
QEMU_LOG = "qemu.log"
KEYGEN_SECONDS = 60
MAX_OUTPUT = 1 << 14
PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class Started:
    """QEMU's process, and the folder with its sockets and with the way in."""

    qemu: process.Launched
    folder: Path

    def end(self) -> None:
        """End QEMU at once, which ends the connections to it."""
        process.kill_group(self.qemu)
        self.qemu.wait()


def boot(spec: SessionSpec, folder: Path, acceleration: Acceleration, *, stays: bool = False) -> Started:
    """Start a machine with its sockets in `folder`, which is nobody else's, and log in; with `stays` it outlives us.

    Raises InputError for an image that is more than its file, HostError where this machine lacks something, BootError
    where the guest does not come up.
    """
    check_image(spec.image)
    with contextlib.ExitStack() as unless_up, begun(spec, folder, acceleration, unless_up, stays=stays) as begin:
        log_in(folder, tuple(spec.exports), begin.agent, begin.watch)
        unless_up.pop_all()
    return begin.started


@dataclass(frozen=True)
class Begun:
    """A machine whose guest is not up yet, and who watches over that."""

    started: Started
    agent: socket.socket
    watch: Watch


@contextlib.contextmanager
def begun(
    spec: SessionSpec,
    folder: Path,
    acceleration: Acceleration,
    unless_up: contextlib.ExitStack,
    *,
    state: StateFiles | None = None,
    stays: bool = False,
    limit: float = LIMIT_SECONDS,
) -> Iterator[Begun]:
    """A machine that was just started, and is ended with `unless_up`; the guest has `limit` to come up."""
    with contextlib.ExitStack() as held:
        with listening(folder) as handles, (folder / QEMU_LOG).open("wb") as log, signals_delayed():
            console = held.enter_context(connected(folder / CONSOLE))
            agent = held.enter_context(connected(folder / AGENT))
            qemu = process.launch(
                spec.argv(acceleration, handles, state),
                handles=[*handles.values()],
                output=log,
                stays=stays,
                env=_temporary(),
            )
            started = Started(qemu, folder)
            unless_up.callback(started.end)
        watch = Watch(console, acceleration, lambda tail: _why_ended(started, tail, acceleration), limit)
        try:
            yield Begun(started, agent, watch)
        except ConnectionError as error:
            raise _why_ended(started, watch.tail(), acceleration) from error


def log_in(folder: Path, exports: tuple[str, ...], connection: socket.socket, watch: Watch) -> None:
    """Open the connection that commands go through, as soon as the agent behind `connection` lets us in."""
    with logging_in(folder, watch) as client:
        agent = Agent(connection, watch)
        agent.answers()
        agent.add_authorized_key(ssh.USER, public_key(folder))
        await_connection(folder, client, watch)
        agent.execute(ssh.serve(exports))
        agent.execute(GO_ON)


@contextlib.contextmanager
def logging_in(folder: Path, watch: Watch) -> Iterator[process.Launched]:
    """Within, the guest is told to let us in; afterwards we are. Yields our ssh.

    ssh is started at once: whatever it takes to start is over before the guest is up.
    """
    make_key(folder)
    with contextlib.ExitStack() as unless_in:
        with signals_delayed():
            client = process.launch(ssh.connect(folder), output=process.PIPE, stays=True, env=ssh.ENVIRONMENT)
            assert client.stdout is not None  # noqa: S101 - launched with a pipe
            unless_in.callback(client.stdout.close)
            unless_in.callback(client.wait)
            unless_in.callback(process.kill_group, client)
        yield client
        said = _read_to_end(client, watch)
        if client.wait() != 0:
            raise BootError(
                f"logging in to the guest failed: {said or f'ssh ended with exit code {client.returncode}'}",
                hint="The image must have an sshd that lets fountain in with a key.",
                details=watch.tail(),
            )
        unless_in.pop_all()


def public_key(folder: Path) -> str:
    """The line of the machine's key in authorized_keys."""
    return (folder / f"{ssh.KEY}.pub").read_text(encoding="ascii")


def require_programs() -> None:
    """Raise HostError where this machine lacks one of PROGRAMS."""
    for program, hint in PROGRAMS.items():
        if not process.find_tool(program):
            raise HostError(f"{program} is not installed, or not in PATH", hint=hint)


def check_image(image: Path) -> None:
    """Raise InputError where QEMU would open more than this file: what the header names may be any file of ours."""
    try:
        with open_file(image) as file:
            start = file.read(SECTOR_BYTES)
    except OSError as error:
        raise InputError(f"{image} cannot be read: {error.strerror}", hint="Name a QCOW2 image.") from error
    problems = header_problems(start) if start.startswith(QCOW2_MAGIC) else ["another format than QCOW2"]
    if problems:
        raise InputError(f"{image} is not started: it has {', '.join(problems)}", hint="Name a whole QCOW2 image.")


def make_key(folder: Path) -> None:
    """A key pair of this machine's own, unless it is there."""
    if not (folder / ssh.KEY).exists():
        process.run(ssh.keygen(folder / ssh.KEY, "toolsmith-run"), timeout=KEYGEN_SECONDS)


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[dict[str, int]]:
    """Sockets in `folder` for QEMU to inherit, one for each of its channels: who connects meanwhile waits for it."""
    with contextlib.ExitStack() as held:
        handles = {}
        for name in CHANNELS:
            (folder / name).unlink(missing_ok=True)
            listener = held.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(bytes(folder / name))
            listener.listen(1)
            handles[name] = listener.fileno()
        yield handles


def signals_delayed() -> contextlib.AbstractContextManager[None]:
    """`delayed_signals`, for programs that may use us in another thread, which no signal reaches."""
    main = threading.current_thread() is threading.main_thread()
    return delayed_signals() if main else contextlib.nullcontext()


def await_connection(folder: Path, client: process.Launched, watch: Watch) -> None:
    """Wait until ssh is at its end of the channel, or has ended: what sshd says before is lost.

    It nearly always is long since.
    """
    with Monitor(folder / MONITOR) as monitor:
        while client.poll() is None and not monitor.is_connected(ssh.LOGIN):
            watch.pause(PAUSE_SECONDS, "ssh's connection to the guest's channel")


def _temporary() -> dict[str, str]:
    """Where QEMU has what the guest writes to its disk: it takes TMPDIR as it is, and we what can be written to."""
    return {"TMPDIR": tempfile.gettempdir()} if "TMPDIR" in os.environ else {}


def _read_to_end(client: process.Launched, watch: Watch) -> str:
    """What ssh said, once it is in the background or has ended."""
    assert client.stdout is not None  # noqa: S101 - launched with a pipe
    said = b""
    with client.stdout as pipe:
        while watch.until(pipe, "the login"):
            data = os.read(pipe.fileno(), MAX_OUTPUT)
            if not data:
                break
            said = (said + data)[-MAX_OUTPUT:]
    return said.decode("utf-8", "replace").strip()


def _why_ended(started: Started, tail: str, acceleration: Acceleration) -> ToolsmithError:
    code = started.qemu.wait()
    with (started.folder / QEMU_LOG).open("rb") as log:
        output = log.read(MAX_OUTPUT).decode("utf-8", "replace")
    return explain_exit(code, "", output, f"{tail}\n{output}".strip(), acceleration.accelerator)
