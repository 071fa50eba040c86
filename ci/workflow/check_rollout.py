"""Check that manifests/tools.json, releases/ and docs/releases.md of this checkout tell the same; changes nothing."""

import argparse
import sys
from pathlib import Path

from ci.host import cli
from ci.host.errors import InputError
from ci.host.files import read_bounded
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.release.consistency import FOLDER, Checkout, findings
from ci.release.targets import CHANGELOG, MANIFEST

# Above the size of any record or changelog that this repository will ever have.
MAX_BYTES = 64 << 20


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("toolsmith-image check-roll-out", __doc__)
    result.add_argument("--root", type=Path, default=ROOT, metavar="FOLDER", help="the checkout (default: this one)")
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Check; raises InputError with every finding."""
    found = list(findings(read_checkout(options.root)))
    if found:
        count = f" ({len(found)} findings in all)" if len(found) > 1 else ""
        raise InputError(
            f"the roll-outs of {options.root} are not consistent: {found[0]}{count}",
            hint="These files change together, by a roll-out or by its revert; take the right one from the release: "
            "docs/releasing.md.",
            details="\n".join(found),
        )
    reporter.note("Manifest, release records and changelog are consistent")


def read_checkout(root: Path) -> Checkout:
    """The files; raises InputError where one cannot be read."""
    changelog = _read(root / CHANGELOG)
    try:
        text = changelog.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{root / CHANGELOG} is not UTF-8: {error}") from error
    names = sorted(path.name for path in (root / FOLDER).glob("*"))
    return Checkout(
        manifest=_read(root / MANIFEST),
        changelog=text,
        releases={name: _read(root / FOLDER / name) for name in names},
    )


def _read(path: Path) -> bytes:
    return read_bounded(path, MAX_BYTES, hint="Take it from the last commit.")


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
