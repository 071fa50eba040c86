"""Build the release catalogue from the release records: a page, an Atom feed, and all records in one document.

The folder can be opened from disk or published as it is: docs/catalogue.md.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ci.catalogue.site import DOCUMENT, PAGE, catalogue_files
from ci.catalogue.view import safe_link
from ci.fetch.github_access import SERVER_URL
from ci.host import cli
from ci.host.errors import InputError, RefusedError, ToolsmithError
from ci.host.files import delayed_signals, sync, write_atomic
from ci.host.open_folder import UNFINISHED
from ci.host.progress import Reporter, short_path
from ci.host.repository import ROOT
from ci.records import published
from ci.records.manifest_rules import image_findings
from ci.records.release import ReleaseRecord, manifest_image
from ci.text.figures import plural

NOT_EDITED = "`toolsmith-image publish` makes the records and a roll-out brings them; nobody edits them."


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("toolsmith-image catalogue", __doc__)
    result.add_argument(
        "--releases", type=Path, default=ROOT / "releases", metavar="FOLDER", help="the records (default: releases)"
    )
    result.add_argument(
        "--output", type=Path, default=ROOT / "dist/catalogue", metavar="FOLDER",
        help="replaced as a whole (default: dist/catalogue)",
    )  # fmt: skip
    result.add_argument(
        "--site-url", metavar="URL", help="where it will be published [that of the repository's pages, in Actions]"
    )
    return result


def main(options: argparse.Namespace, reporter: Reporter, *, environ: Mapping[str, str] = os.environ) -> None:
    """Write the folder; raises InputError where a record is wrong, with the folder left as it was."""
    records = read_releases(options.releases)
    write_folder(options.output, catalogue_files(records, site_url(options.site_url, environ)))
    count = plural(len(records), "release") if records else "no release yet"
    reporter.note(f"{short_path(options.output / PAGE)}: {count}")


def site_url(given: str | None, environ: Mapping[str, str]) -> str | None:
    """Where the pages are, with a final slash; None where that is not known. Raises InputError.

    GitHub leads from this address to the repository's own domain, where it has one.
    https://docs.github.com/en/pages/getting-started-with-github-pages/what-is-github-pages
    """
    if given is not None:
        if not safe_link(given) or "?" in given or "#" in given:
            raise InputError(f"{given!r} is not the address of a site", hint="It begins with https://.")
        return f"{given.rstrip('/')}/"
    owner, _, name = environ.get("GITHUB_REPOSITORY", "").partition("/")
    if not name or environ.get("GITHUB_SERVER_URL", SERVER_URL) != SERVER_URL:
        return None
    host = f"{owner.lower()}.github.io"
    return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def read_releases(folder: Path) -> list[ReleaseRecord]:
    """The records in `folder`, newest version first; raises InputError, naming the file that is wrong.

    A pull request can add any file to `releases/`, so nothing is taken on trust but what the record's model promises:
    each is what its name says, and could be in a manifest.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", hint="It holds the release records, <tag>.json.")
    found = []
    for record in published.read_releases(folder):
        if isinstance(record, ToolsmithError):
            raise InputError(
                f"it cannot be shown: {record.message}", hint=NOT_EDITED, details=record.details
            ) from record
        for finding in image_findings(manifest_image(record)):
            raise InputError(
                f"{folder / record.tag}.json cannot be shown: its image cannot be that of a manifest: {finding}",
                hint=NOT_EDITED,
            )
        found.append(record)
    return found


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Put exactly `files` into `folder`, in the place of an older catalogue; raises RefusedError for anything else."""
    _require_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=UNFINISHED))
    try:
        staged, old = scratch / "new", scratch / "old"
        for name, text in files.items():
            write_atomic(staged / name, text)
        staged.chmod(0o755)
        with delayed_signals():
            if folder.exists():
                folder.rename(old)
            try:
                staged.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
        sync(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _require_replaceable(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise RefusedError(f"{folder} is not a folder", hint="Name another one with --output.")
    names = {path.name for path in folder.iterdir()}
    if names and not {PAGE, DOCUMENT} <= names:
        raise RefusedError(
            f"{folder} holds something else than a catalogue",
            hint="It would be replaced as a whole. Name an empty or a new folder with --output.",
        )


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
