"""Start a machine that lives on, for many commands: `exec` runs them, `stop` ends it. Prints its name."""

import argparse
import sys

from ci.host import cli
from ci.host.accelerator import probe, with_other
from ci.host.progress import Reporter, write_result
from ci.machine import named, places
from ci.machine.commands.flags import add_machine_flags, machine_of


def arguments(prog: str = "ensure-vm start") -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser(prog, __doc__, "as ensure-vm, 8: the image did not come up, 14: it runs already")
    add_machine_flags(result)
    result.add_argument("--name", default=places.DEFAULT, help=f"what it is called; default: {places.DEFAULT}")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Start it; raises what hydrating and booting raise."""
    spec = machine_of(options, reporter)
    with reporter.step("Starting the machine"):
        with_other(
            probe(),
            lambda acceleration: named.start(spec, options.name, acceleration, reporter.note),
            reporter.warn,
        )
    write_result(options.name)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments("toolsmith-image start")))
