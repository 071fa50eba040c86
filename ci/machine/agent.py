"""The guest agent: what runs in the guest before anybody can log in.

https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

import base64
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from ci.machine.channel import Channel
from ci.machine.watch import Watch

SYNC_SECONDS = 2.0
# The agent logs each question.
STATUS_SECONDS = 0.5


class Agent:
    """The agent at the other end of `connection`, a socket of QEMU's, and the guest that `watch` waits for."""

    def __init__(self, connection: socket.socket, watch: Watch) -> None:
        self._channel = Channel(connection, "the guest agent")
        self._watch = watch

    def answers(self) -> None:
        """Wait until the agent answers.

        What was sent before it ran may be lost, or be answered late. So the question is repeated, and an answer to any
        of them will do. It has our process's number in it: answers to somebody else are passed over.
        """
        number = os.getpid()
        while True:
            self._channel.say("guest-sync", {"id": number})
            while (answer := self._channel.next(self._for_a_while, "an answer of the guest agent")) is not None:
                if answer.get("return") == number:
                    return

    def ask(self, command: str, arguments: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        """What the command returns; raises BootError where it is refused, or does not come."""
        return self._channel.ask(command, arguments, self._watch.until)

    def add_authorized_key(self, user: str, public_key: str) -> None:
        """Let `public_key` (one line of an authorized_keys file) log in as `user`, until the guest ends."""
        self.ask("guest-ssh-add-authorized-keys", {"username": user, "keys": [public_key.strip()]})

    def execute(self, argv: Sequence[str], stdin: bytes = b"") -> int:
        """Start a program in the guest, as root, and return its number. Nobody waits for its end."""
        data = {"input-data": base64.b64encode(stdin).decode()} if stdin else {}
        return int(self.ask("guest-exec", {"path": argv[0], "arg": list(argv[1:]), **data})["pid"])

    def finish(self, argv: Sequence[str]) -> None:
        """Run a program in the guest to its end, as root, whatever its exit code."""
        pid = self.execute(argv)
        while not self.ask("guest-exec-status", {"pid": pid})["exited"]:
            self._watch.pause(STATUS_SECONDS, f"the end of {argv[0]}")

    def _for_a_while(self, connection: socket.socket, what: str) -> bool:
        return self._watch.until(connection, what, SYNC_SECONDS)
