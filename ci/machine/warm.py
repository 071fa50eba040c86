"""A machine in a second: resumed from the state that the first one had before its login, or started, and that kept.

The memory of the first machine is a file, which QEMU writes as it goes; to keep it is to stop. Every later one maps the
file for itself, so that what it changes is its own, and it reads only what it touches. The first one, too, goes on as
such a machine: there is one way in, and a state that does not work is found out at once.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ci.host import process
from ci.host.accelerator import Acceleration
from ci.host.errors import HostError, ToolsmithError
from ci.host.open_folder import OpenFolder
from ci.host.qcow2 import create_overlay, virtual_size
from ci.host.qemu import QEMU
from ci.host.workspace import require_space, try_lock, work_folder
from ci.machine import identity, kept, ssh
from ci.machine.agent import Agent
from ci.machine.boot import KEYGEN_SECONDS, Started, await_connection, begun, boot, check_image, logging_in, public_key
from ci.machine.kept import DEVICES, MAX_DEVICES, Kept, UnusableError
from ci.machine.monitor import Monitor
from ci.machine.spec import CHANNELS, DISK, MEMORY, MONITOR, SessionSpec, StateFiles

# For starts that neither use a state nor keep one.
VARIABLE, NO = "TOOLSMITH_WARM", "no"
FORMAT = "1"
MAKING = ".making"
# Of the disk that a state may take besides the memory: what a start writes, and QEMU's devices.
DISK_BYTES = 64 << 20
# Of a disk that is full something is left, less than is wanted in one piece.
FULL_BYTES = 1 << 20
# A machine that is resumed answers at once, or not at all.
RESUME_SECONDS = 15.0
CPUINFO = Path("/proc/cpuinfo")
SHELL = ["/bin/sh", "-c", identity.PREPARE]
PERL = ["/usr/bin/perl", "-e", identity.SCRIPT]


def start(
    spec: SessionSpec,
    folder: Path,
    acceleration: Acceleration,
    say: Callable[[str], None],
    *,
    stays: bool = False,
) -> Started:
    """A machine that can be logged in to, as `boot` starts one, and what that raises; resumed where that works.

    `say` is told why it was not.
    """
    if os.environ.get(VARIABLE) == NO:
        return boot(spec, folder, acceleration, stays=stays)
    check_image(spec.image)
    try:
        states = kept.states_folder()
        facts = circumstances(spec, acceleration)
        if found := _found(states, facts, say):
            with contextlib.suppress(UnusableError):
                return _resumed(found, spec, folder, acceleration, say, stays=stays)
        found = _made(states, facts, spec, folder, acceleration)
    except UnusableError as why:
        say(f"no machine is kept for the next start: {why}")
        return boot(spec, folder, acceleration, stays=stays)
    try:
        return _resumed(found, spec, folder, acceleration, say, stays=stays)
    except UnusableError:
        return boot(spec, folder, acceleration, stays=stays)


def circumstances(spec: SessionSpec, acceleration: Acceleration) -> dict[str, str]:
    """All that decides whether a state can be resumed: what differs is named so in the reason why not."""
    qemu = Path(process.require_tool(QEMU)).resolve()
    image = SessionSpec(Path("image"), Path("workspace"), dict.fromkeys(spec.exports, Path("export")), spec.memory_mib)
    argv = image.argv(acceleration, dict.fromkeys(CHANNELS, 0), StateFiles(Path("state"), resumed=False))
    return {
        "image": _identity(spec.image),
        "shape of the machine": _digest(json.dumps([argv[1:], identity.PREPARE])),
        "memory": str(spec.memory_mib),
        "shares": " ".join(spec.exports),
        "QEMU": f"{qemu} {_identity(qemu)}",
        "accelerator": acceleration.accelerator.value,
        "processor": _processor(),
        "kernel of this machine": " ".join(os.uname()[0:4:2]),
        "format": FORMAT,
    }


def _found(states: Path, facts: dict[str, str], say: Callable[[str], None]) -> Kept | None:
    try:
        return kept.find(states, facts)
    except UnusableError as why:
        say(f"the machine kept from an earlier start is not used: {why}")
        return None


def _made(states: Path, facts: dict[str, str], spec: SessionSpec, folder: Path, acceleration: Acceleration) -> Kept:
    """Start a machine, and keep its state; raises UnusableError where there is no place for it, and as `boot`."""
    with _room(states, spec.memory_mib << 20) as work:
        state = StateFiles(work / "state", resumed=False)
        try:
            state.folder.mkdir(mode=0o700)
            state.nothing.mkdir(mode=0o700)
            with state.memory.open("xb") as file:
                file.truncate(spec.memory_mib << 20)
            create_overlay(spec.image, state.disk, virtual_size(spec.image))
        except (OSError, ToolsmithError) as error:
            raise UnusableError(str(error)) from error
        try:
            devices = _saved(state, spec, folder, acceleration)
        except ToolsmithError as error:
            if shutil.disk_usage(states).free > FULL_BYTES:
                raise
            # Where QEMU cannot write to the machine's memory any more it dies of SIGBUS.
            raise UnusableError(f"{states} is full: {error}") from error
        try:
            (state.folder / DEVICES).write_bytes(devices)
            return kept.keep(state.folder, states, facts)
        except OSError as error:
            raise UnusableError(str(error)) from error


def _saved(state: StateFiles, spec: SessionSpec, folder: Path, acceleration: Acceleration) -> bytes:
    """Start a machine, and leave its memory and disk in `state`; returns what QEMU's devices have."""
    with contextlib.ExitStack() as ended, begun(spec, folder, acceleration, ended, state=state) as begin:
        agent = Agent(begin.agent, begin.watch)
        agent.answers()
        agent.finish(SHELL)
        with Monitor(folder / MONITOR) as monitor:
            devices = monitor.save(MAX_DEVICES)
            monitor.quit()
    return devices


@contextlib.contextmanager
def _room(states: Path, memory: int) -> Iterator[Path]:
    """A folder to make a state in; raises UnusableError where there is no space, or another run is at it."""
    with contextlib.ExitStack() as held:
        try:
            folder = held.enter_context(OpenFolder.at(states))
            if not try_lock(held.enter_context(folder.lock_file(MAKING))):
                raise UnusableError("another run is just keeping one")
            require_space(states, memory + DISK_BYTES)
            work = held.enter_context(work_folder(states))
        except (OSError, HostError) as error:
            raise UnusableError(str(error)) from error
        yield work


def _resumed(
    state: Kept, spec: SessionSpec, folder: Path, acceleration: Acceleration, say: Callable[[str], None], *, stays: bool
) -> Started:
    """Raises UnusableError where a state does not do; it is gone then, and `say` is told why."""
    try:
        return _resume(state, spec, folder, acceleration, stays=stays)
    except (UnusableError, ToolsmithError) as why:
        say(f"the kept machine cannot be used: {why}")
        state.remove()
        raise UnusableError(str(why)) from why


def _resume(state: Kept, spec: SessionSpec, folder: Path, acceleration: Acceleration, *, stays: bool) -> Started:
    with ThreadPoolExecutor() as readers:  # beside QEMU's start
        verified = {name: readers.submit(state.verify, name) for name in (DEVICES, DISK, MEMORY)}
        try:
            return _go_on(verified, StateFiles(state.folder, resumed=True), spec, folder, acceleration, stays=stays)
        except ToolsmithError:
            for file in verified.values():
                file.result()  # which may tell why
            raise


def _go_on(
    verified: Mapping[str, "Future[bytes]"],
    state: StateFiles,
    spec: SessionSpec,
    folder: Path,
    acceleration: Acceleration,
    *,
    stays: bool,
) -> Started:
    with (
        contextlib.ExitStack() as unless_up,
        begun(spec, folder, acceleration, unless_up, state=state, stays=stays, limit=RESUME_SECONDS) as begin,
    ):
        with logging_in(folder, begin.watch) as client:
            with Monitor(folder / MONITOR) as monitor:
                monitor.resume(verified[DEVICES].result())
            host_key = _host_key(folder)
            for file in verified.values():  # before anything of the run goes in
                file.result()
            await_connection(folder, client, begin.watch)
            stdin = identity.inputs(host_key, public_key(folder))
            Agent(begin.agent, begin.watch).execute(PERL, stdin)
        unless_up.pop_all()
    return begin.started


def _host_key(folder: Path) -> tuple[str, str]:
    """The two files of a new key."""
    key = folder / "host_key"
    key.unlink(missing_ok=True)
    process.run(ssh.keygen(key, ""), timeout=KEYGEN_SECONDS)
    pair = key.read_text(encoding="ascii"), key.with_suffix(".pub").read_text(encoding="ascii")
    key.unlink()
    return pair


def _identity(file: Path) -> str:
    """What tells a file from every other, and from itself once it was written to; its digest would take longer."""
    found = file.stat()
    return f"{found.st_dev}:{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _processor() -> str:
    """Of the first one, what is the same at every start of the machine."""
    lines = CPUINFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0] if CPUINFO.exists() else ""
    return _digest("\n".join(line for line in lines.splitlines() if "MHz" not in line and "bogomips" not in line))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
