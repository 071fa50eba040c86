"""Make `ensure-vm.pyz`: the consumer's tool in one file, for machines with nothing but Python 3.10 or later."""

import argparse
import sys
from pathlib import Path

from ci.consume.bundle import NAME, archive
from ci.host import cli
from ci.host.files import write_atomic
from ci.host.progress import Reporter
from ci.host.repository import ROOT


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.bundle_ensure_vm", __doc__)
    result.add_argument(
        "--output", type=Path, default=ROOT / "dist" / NAME, metavar="FILE", help=f"default: dist/{NAME}"
    )
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> int:
    """Write the file; raises VerificationError where the environment was altered."""
    content = archive(ROOT)
    write_atomic(options.output, content, mode=0o755)
    reporter.note(f"{options.output}: {len(content) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
