"""JSON objects, one a line, over a socket: QEMU's monitor and the guest agent both speak so (QMP).

What comes from the agent was written by the guest, which may be hostile: no line is kept without bound, nothing is
believed to be of any shape.
"""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ci.host.errors import BootError

MAX_LINE = 1 << 18
CHUNK_BYTES = 1 << 16

# Waits until the socket can be read, for what is named; False where whoever waits gave up.
Wait = Callable[[socket.socket, str], bool]


class Channel:
    """One side of such a conversation; `who` is the other side."""

    def __init__(self, connection: socket.socket, who: str) -> None:
        self.connection = connection
        self._who = who
        self._rest = b""
        self._asked = 0

    def ask(self, command: str, arguments: Mapping[str, Any], wait: Wait) -> Any:  # noqa: ANN401 - JSON
        """What `command` returns.

        Raises BootError where it is refused, or the answer does not come; ConnectionError where QEMU is gone.
        """
        number = self.say(command, arguments)
        while (answer := self.next(wait, f"an answer of {self._who} to {command}")) is not None:
            if answer.get("id") != number:
                continue  # an event, or the late answer to something that nobody waits for any more
            if "return" in answer:
                return answer["return"]
            raise BootError(f"{self._who} refused {command}: {_described(answer.get('error'))}")
        raise BootError(f"{self._who} did not answer {command} in time")

    def say(self, command: str, arguments: Mapping[str, Any]) -> int:
        """Send a command; the number that its answer will have."""
        self._asked += 1
        line = json.dumps({"execute": command, "arguments": dict(arguments), "id": self._asked})
        try:
            self.connection.sendall(line.encode() + b"\n")
        except OSError as error:
            raise ConnectionError(f"{self._who} hung up: {error.strerror}") from error
        return self._asked

    def next(self, wait: Wait, what: str) -> dict[str, Any] | None:
        """The next object; None where `wait` gave up."""
        while b"\n" not in self._rest:
            if not wait(self.connection, what):
                return None
            try:
                data = self.connection.recv(CHUNK_BYTES)
            except ConnectionError:
                data = b""
            if not data:
                raise ConnectionError(f"{self._who} hung up")
            self._rest += data
            if len(self._rest) > MAX_LINE:
                raise BootError(f"{self._who} sent more than {MAX_LINE} bytes in one piece")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BootError(f"{self._who} sent what is no JSON") from error
        return found if isinstance(found, dict) else {}


def connected(path: Path) -> socket.socket:
    """A connection to the socket `path`; raises OSError where nobody listens."""
    result = socket.socket(socket.AF_UNIX)
    try:
        result.connect(bytes(path))
    except BaseException:
        result.close()
        raise
    return result


def _described(error: object) -> str:
    return str(error.get("desc", error) if isinstance(error, dict) else error)[:500]
