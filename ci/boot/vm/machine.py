"""A virtual machine that runs while a block is entered, and everything that can go wrong while waiting for it."""

import asyncio
import contextlib
import math
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qemu.qmp import QMPError

from ci.boot.vm.console import LOGIN_PROMPT, Console
from ci.boot.vm.qemu import ConsumerSpec, MachineSpec
from ci.boot.vm.qmp import Instruments
from ci.boot.vm.ssh import error_in_words
from ci.host.accelerator import LONGEST_SILENCE_SECONDS, Acceleration
from ci.host.errors import BootError, ToolsmithError
from ci.host.process import spawn_async
from ci.machine.exit import explain_exit, explain_silence

CONSOLE_LOG = "console.log"
CHUNK_BYTES = 1 << 16
CONNECT_SECONDS = 30.0
AGENT_COMMAND_SECONDS = 20.0
# How long QEMU's end may come after the failure it caused elsewhere, a broken connection for instance.
GRACE_SECONDS = 2.0
ROUNDING = 0.001  # of a clock that was waited for
# The length of sun_path in unix(7), which the socket's name and its final NUL share.
SOCKET_PATH_BYTES = 108

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """How QEMU ended by itself. `reason` is from its last event, '' without a monitor: nobody can tell."""

    reason: str
    exit_code: int


class VirtualMachine:
    """A running machine. All limits are in seconds as they are: lengthen them with `Acceleration.scaled`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        console: Console,
        instruments: Instruments | None,
        acceleration: Acceleration,
    ) -> None:
        self.console = console
        self.elapsed = console.clock  # seconds since QEMU was started
        self._acceleration = acceleration
        self._answered = 0.0
        self._instruments = instruments
        self._process = process
        self._exit = asyncio.ensure_future(self._read_to_end())
        self._lost = asyncio.ensure_future(console.fatal_seen.wait())

    def answered(self) -> None:
        """The guest answered a question: a sign of life that is not on its console."""
        self._answered = self.elapsed()

    async def until(self, awaitable: Awaitable[T], seconds: float, what: str, *, answers: bool = False) -> T:
        """Wait for `awaitable`, but no longer than the guest can still bring it about.

        Raises BootError when QEMU ends, the console shows that the guest is lost, it gives no sign of life for too
        long, or `seconds` have passed; `what` names what was waited for. Raises HostError when QEMU ended for a
        reason that lies in this machine, AcceleratorError where that or the silence is KVM's fault.

        Until its login prompt a guest writes on its console, and with `answers` it has something to answer. Silence
        tells of a fault then; later it may last for nine minutes.
        """
        task = asyncio.ensure_future(awaitable)
        began = self.elapsed()
        try:
            await self._wait({task, self._exit, self._lost}, began, seconds, answers=answers)
            if not task.done():
                raise await self._explain() or self._out_of_time(began, seconds, what)
            return await self._outcome(task, what)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def login_prompt(self, seconds: float) -> float:
        """Wait for the login prompt on the console and return when it was there, in seconds since the start."""
        return await self.until(self.console.wait_for(LOGIN_PROMPT), seconds, "the login prompt")

    async def add_authorized_key(self, user: str, public_key: str, seconds: float) -> None:
        """Have the guest agent let a key in, as soon as it answers. The machine must have instruments."""
        instruments = self._need_instruments()
        await self.until(instruments.agent_answers(), seconds, "an answer of the guest agent")
        await self.until(instruments.add_authorized_key(user, public_key), seconds, "adding a key")

    async def screenshot(self, path: Path) -> None:
        """Write what the screen shows to `path`, a PNG. The machine must have instruments."""
        await self.until(self._need_instruments().screenshot(path), CONNECT_SECONDS, "a screenshot")

    async def enlarge_disk(self, gib: int) -> None:
        """Make the guest's disk so large. The machine must have instruments."""
        await self.until(self._need_instruments().enlarge_disk(gib), CONNECT_SECONDS, "a larger disk")

    async def plug_in(self, disk: Path) -> None:
        """Give the guest another disk, a raw file, beside its own on SCSI. The machine must have instruments."""
        await self.until(self._need_instruments().plug_in(disk), CONNECT_SECONDS, "another disk")

    async def powered_off(self, seconds: float) -> Shutdown:
        """Wait for QEMU to end by itself, as it does when the guest powers off."""
        await asyncio.wait({self._exit, self._lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not self._exit.done():
            raise await self._explain() or BootError(
                f"the guest did not power off within {seconds:.0f} s",
                hint="A service may refuse to stop; the console's last lines show how far it came.",
                details=self.console.tail(),
            )
        return Shutdown(reason=await self._last_reason(), exit_code=self._exit.result())

    @property
    def ended(self) -> bool:
        """Whether QEMU is gone."""
        return self._exit.done()

    async def until_ended(self) -> None:
        """Wait for QEMU to end, however long that takes, and whatever the guest does."""
        await asyncio.wait({self._exit})

    async def close(self) -> None:
        """Stop watching; QEMU must have ended, or have been killed."""
        self._lost.cancel()
        await asyncio.gather(self._exit, self._lost, return_exceptions=True)

    async def _read_to_end(self) -> int:
        if self._process.stdout is not None:
            while data := await self._process.stdout.read(CHUNK_BYTES):
                self.console.feed(data)
        self.console.close()
        return await self._process.wait()

    async def _wait(self, events: "set[asyncio.Future[Any]]", began: float, seconds: float, *, answers: bool) -> None:
        """Wait for the first of `events`, until `seconds` after `began`, and only while the guest lives."""
        while True:
            up = not answers and self.console.find(LOGIN_PROMPT) is not None
            silence = LONGEST_SILENCE_SECONDS if up else self._acceleration.silence
            left = min(began + seconds, self._heard(began) + silence) - self.elapsed()
            done, _ = await asyncio.wait(events, timeout=max(left, 0), return_when=asyncio.FIRST_COMPLETED)
            if done or left <= 0:
                return

    def _heard(self, began: float) -> float:
        """When the guest gave its last sign of life; before a wait `began` nobody listened."""
        return max(began, self.console.heard, self._answered)

    def _out_of_time(self, began: float, seconds: float, what: str) -> ToolsmithError:
        silence = self.elapsed() - self._heard(began)
        silent = silence > self._acceleration.silence - ROUNDING
        return explain_silence(
            what,
            silence if silent else seconds,
            silent=silent,
            tail=self.console.tail(),
            accelerator=self._acceleration.accelerator,
        )

    async def _outcome(self, task: "asyncio.Future[T]", what: str) -> T:
        error = task.exception()
        if error is None:
            return task.result()
        if not isinstance(error, (OSError, EOFError, QMPError, BootError)):
            raise error
        # Most likely a connection broke because QEMU ended or the guest died, which says more.
        await asyncio.wait({self._exit, self._lost}, timeout=GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if explanation := await self._explain():
            raise explanation from error
        if isinstance(error, BootError):
            raise error
        raise BootError(f"{what}: {error_in_words(error)}", details=self.console.tail()) from error

    async def _explain(self) -> ToolsmithError | None:
        """Why there is nothing more to wait for, if so."""
        if self._lost.done():
            return await self.console.fatal_error()
        if self._exit.done():
            reason, console = await self._last_reason(), self.console
            return explain_exit(
                self._exit.result(), reason, console.text, console.tail(), self._acceleration.accelerator
            )
        return None

    async def _last_reason(self) -> str:
        if self._instruments is not None and self._exit.result() == 0:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._instruments.shutdown_reason(), GRACE_SECONDS)
        return ""

    def _need_instruments(self) -> Instruments:
        if self._instruments is None:
            raise ValueError("this machine has no instruments")
        return self._instruments


@contextlib.asynccontextmanager
async def start(
    spec: MachineSpec | ConsumerSpec, acceleration: Acceleration, folder: Path
) -> AsyncIterator[VirtualMachine]:
    """A machine that is started now, and killed when the block is left. Its console goes to console.log in `folder`.

    Raises HostError where QEMU is missing or a port is in use, BootError where QEMU ends at once. Without instruments
    nobody knows until the first wait.
    """
    async with contextlib.AsyncExitStack() as stack:
        sockets = instruments = machine = None
        if spec.instruments:
            sockets = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toolsmith-", dir=_short_folder())))
            instruments = Instruments(patience=acceleration.scaled(AGENT_COMMAND_SECONDS))
            await stack.enter_async_context(instruments.listening(sockets))
        started = time.monotonic()
        console = Console(folder / CONSOLE_LOG, lambda: time.monotonic() - started)
        stack.callback(console.close)
        try:
            async with spawn_async(spec.argv(acceleration, sockets)) as process:
                machine = VirtualMachine(process, console, instruments, acceleration)
                if instruments is not None:
                    what = "QEMU's connections to the instruments"
                    await machine.until(instruments.accept(), math.inf, what, answers=True)
                yield machine
        finally:
            if machine is not None:
                await machine.close()


def _short_folder() -> str:
    """The folder for temporary files, unless its name leaves no room for a socket's."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) < SOCKET_PATH_BYTES - 32 else "/tmp"  # noqa: S108 - mkdtemp's, private
