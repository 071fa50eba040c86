"""A machine for a block of Python: `with Machine(image) as machine: machine.run(["python3", "x.py"])`."""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

from ci.host import process
from ci.host.accelerator import Acceleration, probe, with_other
from ci.host.errors import BootError
from ci.host.progress import Reporter, silent
from ci.machine import ssh, warm
from ci.machine.boot import Started
from ci.machine.places import private_folder
from ci.machine.spec import SessionSpec

LOST = 255  # what ssh ends with where it failed itself; a command can, too
CHECK_SECONDS = 60


class Machine(contextlib.AbstractContextManager["Machine"]):
    """A machine that runs while the block is entered; nothing is left of it, and nothing written back.

    Leave the block in the thread that entered it: QEMU ends with that. Without an `acceleration` the best one is found.
    """

    def __init__(
        self, spec: SessionSpec, acceleration: Acceleration | None = None, reporter: Reporter | None = None
    ) -> None:
        self._spec = spec
        self._acceleration = acceleration
        self._reporter = reporter or silent()
        self._held = contextlib.ExitStack()
        self.folder = Path()

    def __enter__(self) -> "Machine":  # noqa: PYI034 - Python 3.10 has no Self
        """Raises what `boot` raises."""
        with contextlib.ExitStack() as held:
            self.folder = held.enter_context(private_folder())
            with self._reporter.step("Starting the machine"):
                started = with_other(self._acceleration or probe(), self._boot, self._reporter.warn)
            held.callback(started.end)
            self._held = held.pop_all()
        return self

    def run(self, argv: Sequence[str], *, timeout: float = math.inf) -> process.Completed:
        """Run a command to its end, with no stdin; its exit code and what it printed, whatever the code is.

        Raises ToolTimeoutError after `timeout` seconds, BootError where the machine is gone.
        """
        line = ssh.command(self.folder, argv, terminal=False)
        done = process.run(line, timeout=timeout, silence=timeout, ok=range(256))
        if done.returncode == LOST:
            require_connection(self.folder)
        return done

    def attached(self, argv: Sequence[str], *, terminal: bool) -> int:
        """The exit code of a command that has our stdin, stdout and stderr; no command is a shell."""
        return attached(self.folder, argv, terminal=terminal)

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _boot(self, acceleration: Acceleration) -> Started:
        return warm.start(self._spec, self.folder, acceleration, self._reporter.note)


def attached(folder: Path, argv: Sequence[str], *, terminal: bool) -> int:
    """Run a command in the machine of `folder` with our stdin, stdout and stderr; its exit code."""
    code = process.attached(ssh.command(folder, argv, terminal=terminal))
    if code == LOST:
        require_connection(folder)
    return code


def require_connection(folder: Path) -> None:
    """Raise BootError where the connection to the machine is lost."""
    if process.run(ssh.check(folder), timeout=CHECK_SECONDS, ok=(0, LOST)).returncode != 0:
        raise BootError(
            "the connection to the machine was lost while the command ran",
            hint="The guest powered off, crashed, or took all its memory for something else.",
        )
