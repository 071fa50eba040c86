"""Waiting for a guest, no longer than it can still bring about what is waited for."""

import re
import select
import socket
import time
from collections.abc import Callable, Sequence
from typing import IO

from ci.host.accelerator import Acceleration
from ci.host.errors import BootError, ToolsmithError
from ci.machine.exit import MAX_LINE, explain_silence, last_lines

CHUNK_BYTES = 1 << 16
KEPT = 1 << 15  # characters of the console
LIMIT_SECONDS = 180.0  # of a start, with KVM; a guest that writes for ever gives signs of life, too

# Colours and cursors, and what else is no text: ECMA-48.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])|[\x00-\x08\x0b-\x1f\x7f]")
_FATAL = re.compile(r"Kernel panic - not syncing.*|You are in emergency mode|Give root password for maintenance")


class Watch:
    """Waits for sockets and pipes, and meanwhile reads what the guest writes on its console.

    `ended` says why there is no QEMU any more, which is told the console's last lines.
    """

    def __init__(
        self,
        console: socket.socket,
        acceleration: Acceleration,
        ended: Callable[[str], ToolsmithError],
        limit: float = LIMIT_SECONDS,
    ) -> None:
        """`limit` is how many seconds all that is waited for may take, with KVM."""
        self._console = console
        self._acceleration = acceleration
        self._ended = ended
        self._text = ""
        self._heard = time.monotonic()
        self._limit = acceleration.scaled(limit)
        self._deadline = self._heard + self._limit

    def pause(self, seconds: float, what: str) -> None:
        """Wait for `seconds`; raises what `until` raises."""
        self._until([], what, seconds)

    def until(self, source: socket.socket | IO[bytes], what: str, seconds: float = float("inf")) -> bool:
        """Wait until `source`, which has a fileno(), can be read; False after `seconds`.

        Raises BootError where the guest is lost, or gives no sign of life for too long; `what` names what was waited
        for. Raises what `ended` says where QEMU ended, AcceleratorError where KVM may be at fault.
        """
        return self._until([source], what, seconds)

    def _until(self, sources: Sequence[socket.socket | IO[bytes]], what: str, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            limit = min(self._deadline, self._heard + self._acceleration.silence)
            left = max(min(until, limit) - time.monotonic(), 0)
            ready = select.select([*sources, self._console], [], [], left)[0]
            if self._console in ready:
                self._listen()
            if any(source in ready for source in sources):
                self._heard = time.monotonic()
                return True
            if not ready and time.monotonic() >= limit:
                raise self._out_of_time(what)
            if not ready:
                return False

    def tail(self) -> str:
        """The console's last lines."""
        return last_lines(self._text)

    def _listen(self) -> None:
        data = self._received()
        if not data:
            raise self._ended(self.tail())
        self._take(data)
        self._heard = time.monotonic()
        if found := _FATAL.search(self._text):
            raise BootError(
                f"the guest is lost: {found.group()[:MAX_LINE]}",
                hint="The console's last lines show what it did before.",
                details=self.tail(),
            )

    def _received(self) -> bytes:
        try:
            return self._console.recv(CHUNK_BYTES)
        except ConnectionError:
            return b""

    def _take(self, data: bytes) -> None:
        text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        self._text = (self._text + _ESCAPE.sub("", text))[-KEPT:]

    def _out_of_time(self, what: str) -> ToolsmithError:
        seconds = time.monotonic() - self._heard
        silent = seconds >= self._acceleration.silence
        return explain_silence(
            what,
            seconds if silent else self._limit,
            silent=silent,
            tail=self.tail(),
            accelerator=self._acceleration.accelerator,
        )
