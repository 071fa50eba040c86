"""Run a command in a machine that `start` started; its exit code is the command's."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ci.machine import places, ssh

if TYPE_CHECKING:
    import argparse

    from ci.host.progress import Reporter


def at_once(argv: Sequence[str]) -> None:
    """Become ssh, where all is as usual; otherwise nothing was done.

    It comes before all that takes long to load: whoever runs one short command after the other would mostly wait for
    that. So it is not ci/host/process.py that starts ssh; and nothing of ours is left that would have to end it.
    """
    match argv:
        case ["--", *command]:
            name = places.DEFAULT
        case ["--name", name, "--", *command]:
            pass
        case _:
            return
    folder = places.find(name)
    if command and folder and (folder / ssh.CONTROL).exists():
        line = ssh.command(folder, command, terminal=ssh.in_terminal())
        with contextlib.suppress(OSError, ValueError):
            os.execvp(line[0], line)  # noqa: S606


def arguments(prog: str = "ensure-vm exec") -> "argparse.ArgumentParser":
    """The flags."""
    from ci.host import cli  # noqa: PLC0415
    from ci.machine.commands.flags import add_command  # noqa: PLC0415

    result = cli.parser(prog, __doc__, "the command's; 2: no machine of that name runs")
    result.add_argument("--name", default=places.DEFAULT, help=f"which machine; default: {places.DEFAULT}")
    add_command(result)
    return result


def main(options: "argparse.Namespace", _reporter: "Reporter") -> None:
    """Run it, and exit with its code; raises InputError where there is no machine."""
    from ci.machine import named  # noqa: PLC0415
    from ci.machine.commands.flags import command_of  # noqa: PLC0415
    from ci.machine.machine import attached  # noqa: PLC0415

    folder = named.require_way_in(options.name)
    sys.exit(attached(folder, command_of(options), terminal=ssh.in_terminal()))


def _run() -> int:
    at_once(sys.argv[1:])
    from ci.host import cli  # noqa: PLC0415

    return cli.run(main, arguments("toolsmith-image exec"))


if __name__ == "__main__":
    sys.exit(_run())
