"""Talking to QEMU's monitor, and through its channel to the guest agent. Both speak QMP.

https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

import asyncio
import contextlib
import itertools
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from ci.host.errors import BootError, HostError

SYNC_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """How QEMU ended by itself.

    `reason` and `guest` are from its last event: `guest-shutdown` and True where the guest powered itself off. Without
    a monitor `reason` is '' and `guest` is False: nobody can tell. `exit_code` is None while QEMU is about to end.
    """

    reason: str = ""
    guest: bool = False
    exit_code: int | None = None


class _Channel:
    """A connection that QEMU makes to us, so that nothing has to be tried again until it is there."""

    def __init__(self, name: str) -> None:
        self._client = QMPClient(name)

    async def listen(self, socket: Path) -> None:
        """Listen where QEMU will connect to; to be called before QEMU starts."""
        await self._client.start_server(str(socket))

    async def accept(self) -> None:
        """Wait for QEMU to connect, which says nothing about a guest agent behind it."""
        await self._client.accept()

    async def close(self) -> None:
        """End the connection, if there is one."""
        # QEMU may have hung up first, which the client reports here.
        with contextlib.suppress(EOFError, OSError, QMPError):
            await self._client.disconnect()


class Monitor(_Channel):
    """QEMU's monitor."""

    def __init__(self) -> None:
        super().__init__("monitor")
        self._shutdowns = EventListener(("SHUTDOWN",))
        self._client.register_listener(self._shutdowns)
        self._shutdown: Shutdown | None = None

    async def screenshot(self, path: Path) -> None:
        """Write what the VGA card shows as a PNG; raises HostError where this QEMU cannot make one."""
        try:
            await self._client.execute("screendump", {"filename": str(Path.cwd() / path), "format": "png"})
        except ExecuteError as error:
            raise HostError(
                f"QEMU made no screenshot: {error}", hint="It needs QEMU 7.1 or newer, with PNG."
            ) from error

    async def shutdown(self) -> Shutdown:
        """Wait for the event that says why QEMU is about to end."""
        if self._shutdown is None:
            data = (await self._shutdowns.get())["data"]
            if not isinstance(data, dict):
                raise BootError(f"an event is no object: {data!r}", hint="This QEMU is not a known one.")
            self._shutdown = Shutdown(guest=data["guest"] is True, reason=str(data.get("reason", "")))
        return self._shutdown


class GuestAgent(_Channel):
    """The agent inside the guest. `patience` is how many seconds one command may take."""

    def __init__(self, *, patience: float) -> None:
        super().__init__("agent")
        self._client.await_greeting = False
        self._client.negotiate = False
        self._patience = patience

    async def answers(self, sync_seconds: float = SYNC_SECONDS) -> None:
        """Wait until the agent answers.

        What was sent before it ran may be lost, or be answered late. So the question is repeated, with another number,
        and an answer to any of them will do; the client drops those that come after it.
        """
        asked: set[asyncio.Task[bool]] = set()
        try:
            for number in itertools.count(1):
                asked.add(asyncio.ensure_future(self._sync(number)))
                done, asked = await asyncio.wait(asked, timeout=sync_seconds, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    return
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _sync(self, number: int) -> bool:
        return await self._client.execute("guest-sync", {"id": number}) == number

    async def command(self, name: str, **arguments: object) -> object:
        """Run an agent command; raises BootError where the agent refuses it, or does not answer in time."""
        try:
            async with asyncio.timeout(self._patience):
                return await self._client.execute(name, arguments)
        except ExecuteError as error:
            raise BootError(
                f"the guest agent refused {name}: {error}",
                hint="The image's agent may be too old for it, or its configuration blocks it.",
            ) from error
        except TimeoutError:
            raise BootError(f"the guest agent did not answer {name} within {self._patience:.0f} s") from None
        except QMPError as error:
            raise BootError(f"the connection to the guest agent was lost during {name}: {error}") from error

    async def add_authorized_key(self, user: str, public_key: str) -> None:
        """Let `public_key` (one line of an authorized_keys file) log in as `user`, until the guest ends."""
        await self.command("guest-ssh-add-authorized-keys", username=user, keys=[public_key.strip()])
