"""QEMU's monitor: what we ask of QEMU itself.

https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

import contextlib
import select
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ci.host.errors import BootError
from ci.machine.channel import Channel, connected

# QEMU itself answers at once, as long as it runs; a machine that is busy beyond measure lets it wait.
SECONDS = 60.0


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
        """What the command returns; raises BootError where it is refused, or QEMU is gone."""
        return self._channel.ask(command, arguments or {}, _wait)

    def is_connected(self, channel: str) -> bool:
        """Whether somebody of this machine is connected to a channel of the guest's."""
        found = [one for one in self.ask("query-chardev") if one["label"] == channel]
        return bool(found) and not found[0]["filename"].startswith("disconnected:")

    def quit(self) -> None:
        """End QEMU at once, and wait until it has ended."""
        with contextlib.suppress(BootError):  # it may hang up before it answers
            self.ask("quit")
            while self._channel.next(_wait, "") is not None:
                pass

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _wait(connection: socket.socket, _what: str) -> bool:
    return bool(select.select([connection], [], [], SECONDS)[0])
