"""Talking to QEMU's monitor, and through its channel to the guest agent. Both speak QMP.

https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

import asyncio
import base64
import contextlib
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError

from ci.host.errors import BootError, HostError

SYNC_SECONDS = 5.0
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """QEMU's last event: whether the guest asked for it, and what happened (`guest-shutdown`, `guest-reset`, …)."""

    guest: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult:
    """A program that the guest agent ran to its end."""

    exit_status: int
    stdout: str
    stderr: str


class Monitor:
    """QEMU's monitor."""

    def __init__(self) -> None:
        self._client = QMPClient("monitor")
        self._shutdowns = EventListener(("SHUTDOWN",))
        self._client.register_listener(self._shutdowns)
        self._shutdown: Shutdown | None = None

    async def listen(self, socket: Path) -> None:
        """Listen where QEMU will connect to; to be called before QEMU starts."""
        await self._client.start_server(str(socket))

    async def accept(self) -> None:
        """Wait for QEMU to connect."""
        await self._client.accept()

    async def command(self, name: str, arguments: Mapping[str, object] | None = None) -> object:
        """Run a command; raises ExecuteError where QEMU refuses it."""
        return await self._client.execute(name, dict(arguments or {}))

    async def screenshot(self, path: Path) -> None:
        """Write what the VGA card shows as a PNG; raises HostError where this QEMU cannot make one."""
        try:
            await self.command("screendump", {"filename": str(Path.cwd() / path), "format": "png"})
        except ExecuteError as error:
            raise HostError(
                f"QEMU made no screenshot: {error}", hint="It needs QEMU 7.1 or newer, with PNG."
            ) from error

    async def shutdown(self) -> Shutdown:
        """Wait for the event that says why QEMU is about to end."""
        if self._shutdown is None:
            data = _mapping((await self._shutdowns.get())["data"])
            self._shutdown = Shutdown(guest=data["guest"] is True, reason=str(data.get("reason", "")))
        return self._shutdown

    async def close(self) -> None:
        """End the connection, if there is one."""
        await _disconnect(self._client)


class GuestAgent:
    """The agent inside the guest. `patience` is how many seconds one command may take."""

    def __init__(self, *, patience: float) -> None:
        self._client = QMPClient("agent")
        self._client.await_greeting = False
        self._client.negotiate = False
        self._patience = patience

    async def listen(self, socket: Path) -> None:
        """Listen where QEMU will connect the channel to; to be called before QEMU starts."""
        await self._client.start_server(str(socket))

    async def accept(self) -> None:
        """Wait for QEMU to connect the channel, which says nothing about the agent."""
        await self._client.accept()

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
        """Run an agent command. Underscores in the names of `arguments` stand for the hyphens of the agent's.

        Raises BootError where the agent refuses it, or does not answer in time.
        """
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            async with asyncio.timeout(self._patience):
                return await self._client.execute(name, named)
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

    async def execute(self, path: str, args: Sequence[str] = ()) -> AgentResult:
        """Run a program in the guest as root, to its end."""
        started = await self.command("guest-exec", path=path, arg=list(args), capture_output=True)
        pid = _mapping(started)["pid"]
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            status = _mapping(await self.command("guest-exec-status", pid=pid))
            if status["exited"]:
                return _agent_result(status)
            await asyncio.sleep(POLL_SECONDS)  # the agent has no event for a program's end
        raise BootError(f"{path} did not end in the guest within {self._patience:.0f} s")

    async def close(self) -> None:
        """End the connection, if there is one."""
        await _disconnect(self._client)


def _agent_result(status: Mapping[str, object]) -> AgentResult:
    code = status.get("exitcode")
    signal = status.get("signal")
    return AgentResult(
        exit_status=code if isinstance(code, int) else -(signal if isinstance(signal, int) else 1),
        stdout=_decode(status.get("out-data", "")),
        stderr=_decode(status.get("err-data", "")),
    )


def _decode(data: object) -> str:
    return base64.b64decode(str(data)).decode("utf-8", "replace")


def _mapping(reply: object) -> Mapping[str, object]:
    if not isinstance(reply, dict):
        raise BootError(f"an answer is no object: {reply!r}", hint="This QEMU or guest agent is not a known one.")
    return reply


async def _disconnect(client: QMPClient) -> None:
    # QEMU may have hung up first, which the client reports here.
    with contextlib.suppress(EOFError, OSError, QMPError):
        await client.disconnect()
