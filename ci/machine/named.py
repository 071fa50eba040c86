"""Machines that live on after the command that started them: where they are, and whether they still run.

Each has a folder in a private one of the user's. Whether it runs, its QEMU tells, which listens there: no process
number is kept, which may be somebody else's by now.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import BootError, InputError, RefusedError
from ci.host.open_folder import OpenFolder
from ci.host.workspace import try_lock
from ci.machine import ssh, warm
from ci.machine.boot import log_in
from ci.machine.channel import connected
from ci.machine.monitor import Monitor
from ci.machine.places import folder_of, home
from ci.machine.spec import AGENT, CONSOLE, MONITOR, SessionSpec
from ci.machine.watch import Watch

# How patient to be with a machine that runs already.
PATIENT = Acceleration(accelerator=Accelerator.TCG, reason="it runs")


def start(spec: SessionSpec, name: str, acceleration: Acceleration, say: Callable[[str], None]) -> None:
    """Start a machine that lives on; raises RefusedError where there is one of that name, and what `boot` raises."""
    folder = folder_of(name)
    with _alone(name):
        if _runs(folder):
            raise RefusedError(
                f"a machine called {name} runs already", hint=f"Use it, or stop --name {name}, or take another --name."
            )
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            warm.start(spec, folder, acceleration, say, stays=True)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def stop(name: str) -> None:
    """End a machine at once, and remove what it leaves; raises InputError where none of that name runs."""
    folder = folder_of(name)
    with _alone(name):
        try:
            with Monitor(folder / MONITOR) as monitor:
                monitor.quit()
        except OSError:
            raise _none(folder) from None
        shutil.rmtree(folder, ignore_errors=True)


def require_way_in(name: str) -> Path:
    """The folder of a machine that runs, with an open connection; raises InputError where none of that name runs.

    The connection may have been lost; it is opened anew then.
    """
    folder = folder_of(name)
    if (folder / ssh.CONTROL).exists():
        return folder
    with _alone(name):
        if not _runs(folder):
            raise _none(folder)
        if not (folder / ssh.CONTROL).exists():
            try:
                with connected(folder / CONSOLE) as console, connected(folder / AGENT) as agent:
                    log_in(folder, (), agent, Watch(console, PATIENT, _ended))
            except ConnectionError as error:
                raise _ended("") from error
    return folder


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """Nobody else starts or stops the machine meanwhile; raises RefusedError where somebody does."""
    with OpenFolder.at(home()) as folder, folder.lock_file(f"{name}.lock") as lock:
        if not try_lock(lock):
            raise RefusedError(
                f"a machine called {name} is just being started or stopped", hint="Wait for that, or take another name."
            )
        yield


def _ended(tail: str) -> BootError:
    return BootError("the machine ended while its connection was opened anew", details=tail)


def _runs(folder: Path) -> bool:
    try:
        with Monitor(folder / MONITOR):
            return True
    except OSError:
        return False


def _none(folder: Path) -> InputError:
    shutil.rmtree(folder, ignore_errors=True)
    return InputError(f"no machine called {folder.name} runs", hint="`start` starts one; it may have ended by itself.")
