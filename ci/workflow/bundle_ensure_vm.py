"""Make `ensure-vm.pyz`: the consumer's tool in one file, for machines with nothing but Python 3.10 or later."""

import argparse
import sys
from pathlib import Path

from ci.consume.bundle import write_archive
from ci.host import cli
from ci.host.progress import Reporter
from ci.host.repository import ROOT


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("toolsmith-image bundle-ensure-vm", __doc__)
    result.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Write the file; raises VerificationError where the environment was altered."""
    path = write_archive(ROOT, options.output)
    reporter.note(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
