"""Run a command in a machine of its own, with the image that a manifest names; its exit code is the command's.

The workspace is at /mnt/work, where the command starts. Nothing is written back, and nothing is left running.
"""

import argparse
import sys

from ci.host import cli
from ci.host.accelerator import probe
from ci.host.progress import Reporter
from ci.machine.commands.flags import add_command, add_machine_flags, command_of, discreet, machine_of
from ci.machine.machine import Machine
from ci.machine.ssh import in_terminal


def arguments(prog: str = "ensure-vm run") -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser(prog, __doc__, "the command's; otherwise those of ensure-vm, and 8: the image did not come up")
    add_machine_flags(result)
    add_command(result)
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Run it, and exit with its code; raises what hydrating and booting raise."""
    run_in_machine(options, reporter, command_of(options))


def run_in_machine(options: argparse.Namespace, reporter: Reporter, command: list[str]) -> None:
    """Start a machine, run `command` in it, or a shell where it is empty, and exit with its code."""
    told = discreet(options, reporter)
    spec = machine_of(options, told)
    with Machine(spec, probe(), told) as machine:
        code = machine.attached(command, terminal=in_terminal())
    sys.exit(code)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments("toolsmith-image run")))
