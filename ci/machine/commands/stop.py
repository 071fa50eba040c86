"""End a machine that `start` started, at once; nothing of it is written back."""

import argparse
import sys

from ci.host import cli
from ci.host.progress import Reporter
from ci.machine import named, places


def arguments(prog: str = "ensure-vm stop") -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser(prog, __doc__, "2: no machine of that name runs")
    result.add_argument("--name", default=places.DEFAULT, help=f"what it is called; default: {places.DEFAULT}")
    return result


def main(options: argparse.Namespace, _reporter: Reporter) -> None:
    """End it; raises InputError where there is none."""
    named.stop(options.name)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments("toolsmith-image stop")))
