"""Open a shell in a machine of its own, which ends with it; the flags are those of `run`."""

import argparse
import sys

from ci.host import cli
from ci.host.progress import Reporter
from ci.machine.commands.flags import add_machine_flags
from ci.machine.commands.run import run_in_machine


def arguments(prog: str = "ensure-vm shell") -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser(prog, __doc__, "the shell's; otherwise as `run`")
    add_machine_flags(result)
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Open it, and exit with its code; raises what hydrating and booting raise."""
    run_in_machine(options, reporter, [])


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments("toolsmith-image shell")))
