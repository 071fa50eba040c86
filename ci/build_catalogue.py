"""Build the release catalogue from the release records: a page, an Atom feed, and all records in one document.

The folder can be opened from disk or published as it is: docs/catalogue.md.
"""

import argparse
import sys
from pathlib import Path

from ci.catalogue.folder import write_folder
from ci.catalogue.reading import read_releases
from ci.catalogue.site import PAGE, catalogue_files
from ci.host import cli
from ci.host.progress import Reporter, short_path
from ci.host.repository import ROOT
from ci.text.figures import plural


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.build_catalogue", __doc__)
    result.add_argument(
        "--releases", type=Path, default=ROOT / "releases", metavar="FOLDER", help="the records (default: releases)"
    )
    result.add_argument(
        "--output", type=Path, default=ROOT / "dist/catalogue", metavar="FOLDER",
        help="replaced as a whole (default: dist/catalogue)",
    )  # fmt: skip
    return result


def main(options: argparse.Namespace, reporter: Reporter) -> int:
    """Write the folder; raises InputError where a record is wrong, with the folder left as it was."""
    records = read_releases(options.releases)
    write_folder(options.output, catalogue_files(records))
    count = plural(len(records), "release") if records else "no release yet"
    reporter.note(f"{short_path(options.output / PAGE)}: {count}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
