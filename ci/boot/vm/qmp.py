"""Talking to QEMU's monitor, and through its channel to the guest agent. Both speak QMP.

https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from ci.boot.vm.qemu import AGENT_SOCKET, QMP_SOCKET, ROOT, SECOND
from ci.host.errors import BootError, HostError

SYNC_SECONDS = 5.0


class Instruments:
    """What the boot test attaches to a machine beyond what its user has: the monitor, and the guest agent's channel.

    `patience` is how many seconds a command of the agent may take.
    """

    def __init__(self, *, patience: float) -> None:
        self.monitor, self.agent = QMPClient("monitor"), QMPClient("agent")
        self.agent.await_greeting = False
        self.agent.negotiate = False
        self._patience = patience
        self._shutdowns = EventListener(("SHUTDOWN",))
        self.monitor.register_listener(self._shutdowns)
        self._reason = ""

    @contextlib.asynccontextmanager
    async def listening(self, folder: Path) -> AsyncIterator[None]:
        """Sockets in `folder` that QEMU can connect to the moment it starts: no later retry, no race."""
        try:
            await self.monitor.start_server(str(folder / QMP_SOCKET))
            await self.agent.start_server(str(folder / AGENT_SOCKET))
            yield
        finally:
            for client in (self.agent, self.monitor):
                # QEMU may have hung up first, which the client reports here.
                with contextlib.suppress(EOFError, OSError, QMPError):
                    await client.disconnect()

    async def accept(self) -> None:
        """Wait for QEMU to connect, which says nothing about a guest agent behind it."""
        await self.monitor.accept()
        await self.agent.accept()

    async def screenshot(self, path: Path) -> None:
        """Write what the VGA card shows as a PNG; raises HostError where this QEMU cannot make one."""
        try:
            await self.monitor.execute("screendump", {"filename": str(Path.cwd() / path), "format": "png"})
        except ExecuteError as error:
            raise HostError(
                f"QEMU made no screenshot: {error}", hint="It needs QEMU 7.1 or newer, with PNG."
            ) from error

    async def enlarge_disk(self, gib: int) -> None:
        """Make the guest's disk so large."""
        await self.monitor.execute("block_resize", {"device": ROOT, "size": gib << 30})

    async def plug_in(self, disk: Path) -> None:
        """Give the guest another disk, a raw file, on the bus of SCSI_DISK."""
        file = {"driver": "file", "filename": str(Path.cwd() / disk)}
        await self.monitor.execute("blockdev-add", {"driver": "raw", "node-name": SECOND, "file": file})
        await self.monitor.execute("device_add", {"driver": "scsi-hd", "bus": "scsi.0", "drive": SECOND})

    async def shutdown_reason(self) -> str:
        """Wait for the event that says why QEMU is about to end: `guest-shutdown` where the guest powered off."""
        if not self._reason:
            data = (await self._shutdowns.get())["data"]
            if not isinstance(data, dict):
                raise BootError(f"an event is no object: {data!r}", hint="This QEMU is not a known one.")
            self._reason = str(data["reason"])
        return self._reason

    async def agent_answers(self, sync_seconds: float = SYNC_SECONDS) -> None:
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
        return await self.agent.execute("guest-sync", {"id": number}) == number

    async def add_authorized_key(self, user: str, public_key: str) -> None:
        """Let `public_key` (one line of an authorized_keys file) log in as `user`, until the guest ends.

        Raises BootError where the agent refuses it, or does not answer in time.
        """
        name, arguments = "guest-ssh-add-authorized-keys", {"username": user, "keys": [public_key.strip()]}
        try:
            async with asyncio.timeout(self._patience):
                await self.agent.execute(name, arguments)
        except ExecuteError as error:
            raise BootError(
                f"the guest agent refused {name}: {error}",
                hint="The image's agent may be too old for it, or its configuration blocks it.",
            ) from error
        except TimeoutError:
            raise BootError(f"the guest agent did not answer {name} within {self._patience:.0f} s") from None
        except QMPError as error:
            raise BootError(f"the connection to the guest agent was lost during {name}: {error}") from error
