"""QEMU's monitor: what we ask of QEMU itself.

https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ci.host.errors import BootError
from ci.machine.channel import Channel, connected

# QEMU itself answers at once, as long as it runs; a machine that is busy beyond measure lets it wait.
SECONDS = 60.0
PAUSE_SECONDS = 0.005
STATE = "fd:state"  # a pipe that it was handed over


class Monitor(contextlib.AbstractContextManager["Monitor"]):
    """A conversation with QEMU's monitor, which has one at a time: others wait."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where no QEMU listens, BootError where it does not answer."""
        self._socket = connected(path)
        self._channel = Channel(self._socket, "QEMU's monitor")
        try:
            self._channel.next(_wait, "")  # its greeting
            self.ask("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def ask(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - JSON
        """What the command returns; raises BootError where it is refused, ConnectionError where QEMU is gone."""
        return self._channel.ask(command, arguments or {}, _wait)

    def is_connected(self, channel: str) -> bool:
        """Whether somebody of this machine is connected to a channel of the guest's."""
        found = [one for one in self.ask("query-chardev") if one["label"] == channel]
        return bool(found) and not found[0]["filename"].startswith("disconnected:")

    def save(self, limit: int) -> bytes:
        """Stop the machine, and return the state of its devices; its memory must be a file that it shares.

        Raises BootError where that fails, or is more than `limit` bytes.
        """
        self.ask("stop")
        self._leave_out_memory()
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as pipe:
            self._hand_over(writing)
            self.ask("migrate", {"uri": STATE})
            data = pipe.read(limit + 1)
        if len(data) > limit or self._settled("query-migrate", ("setup", "active", "device")) != "completed":
            raise BootError("QEMU could not save the state of the machine")
        return data

    def resume(self, devices: bytes) -> None:
        """Let a machine that waits for it go on with this state of its devices; raises BootError where it is none."""
        self._leave_out_memory()
        reading, writing = os.pipe()
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:  # QEMU tells why
            self._hand_over(reading)
            self.ask("migrate-incoming", {"uri": STATE})
            pipe.write(devices)
        if (status := self._settled("query-status", ("inmigrate",))) != "paused":  # as it was saved
            raise BootError(f"QEMU did not resume the machine: it is {status}")
        self.ask("cont")

    def _hand_over(self, end: int) -> None:
        """Let QEMU have an end of a pipe, by the name in STATE, in our place."""
        try:
            socket.send_fds(self._socket, [b" "], [end])
            self.ask("getfd", {"fdname": STATE.removeprefix("fd:")})
        finally:
            os.close(end)

    def _leave_out_memory(self) -> None:
        self.ask("migrate-set-capabilities", {"capabilities": [{"capability": "x-ignore-shared", "state": True}]})

    def _settled(self, question: str, passing: Sequence[str]) -> str:
        while (status := str(self.ask(question)["status"])) in passing:
            time.sleep(PAUSE_SECONDS)
        return status

    def quit(self) -> None:
        """End QEMU at once, and wait until it has ended."""
        with contextlib.suppress(ConnectionError):  # how it ends
            self.ask("quit")
            while self._channel.next(_wait, "") is not None:
                pass

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _wait(connection: socket.socket, _what: str) -> bool:
    return bool(select.select([connection], [], [], SECONDS)[0])
