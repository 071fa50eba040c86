"""A guestfish that answers from a table, for tests of what we ask it and what we make of the answers."""

import os
from collections.abc import Mapping

from ci.host.appliance.guestfish import Guestfish
from ci.host.errors import BuildError

Answer = str | BuildError


class ScriptedGuest(Guestfish):
    """`answers` maps a command line to its output, or to the error it ends with; any other command prints nothing.

    `commands` are the command lines in order.
    """

    def __init__(self, answers: Mapping[str, Answer] | None = None, *, exit_code: int = 0, output: str = "") -> None:
        self.answers = dict(answers or {})
        self.exit_code = exit_code
        self.output = output
        self.commands: list[str] = []
        self.timeouts: list[float] = []

    def command(self, name: str, *arguments: str | os.PathLike[str], timeout: float = 300) -> str:
        line = " ".join([name, *(os.fspath(argument) for argument in arguments)])
        self.commands.append(line)
        self.timeouts.append(timeout)
        answer = self.answers.get(line, "")
        if isinstance(answer, BuildError):
            raise answer
        return answer

    def shell(self, script: str, *, timeout: float) -> tuple[int, str]:
        self.commands.append(script)
        self.timeouts.append(timeout)
        return self.exit_code, self.output
