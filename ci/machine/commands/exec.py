"""Run a command in a machine that `start` started; its exit code is the command's."""

import argparse
import sys

from ci.host import cli
from ci.host.progress import Reporter
from ci.machine import named
from ci.machine.commands.flags import add_command, command_of, in_terminal
from ci.machine.machine import attached


def arguments(prog: str = "ensure-vm exec") -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser(prog, __doc__, "the command's; 2: no machine of that name runs")
    result.add_argument("--name", default=named.DEFAULT, help=f"which machine; default: {named.DEFAULT}")
    add_command(result)
    return result


def main(options: argparse.Namespace, _reporter: Reporter) -> None:
    """Run it, and exit with its code; raises InputError where there is no machine."""
    folder = named.require_way_in(options.name)
    sys.exit(attached(folder, command_of(options), terminal=in_terminal()))


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments("toolsmith-image exec")))
