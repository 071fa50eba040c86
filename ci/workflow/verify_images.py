"""Compare downloaded images and reports with the digests that collect-images handed on.

For a single image sets the outputs `qcow2` and `sbom`, the paths of its files; one that it lacks is empty.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ci.host import actions, cli
from ci.host.errors import InputError, VerificationError
from ci.host.files import sha256_file
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.records import artifacts
from ci.records.record import Sha256

RERUN = "Re-run the failed job; if it stays so, build again: docs/automation.md."


# By definition and file name, as collect-images writes them.
DIGESTS = TypeAdapter(dict[str, dict[str, Sha256]])


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("toolsmith-image verify-images", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--image", metavar="NAME", help="only this definition's files are there (default: all)")
    result.add_argument("--digests", default=os.environ.get("DIGESTS", ""), help="what was handed on [DIGESTS]")
    return result


def main(options: argparse.Namespace, reporter: Reporter, *, environ: Mapping[str, str] = os.environ) -> None:
    """Compare; raises VerificationError where a file is missing, is another, or is one nobody vouches for."""
    try:
        digests = DIGESTS.validate_json(options.digests)
    except ValidationError as error:
        raise InputError(
            "these are no digests", hint="They come from a job of collect-images.", details=str(error)
        ) from error
    images = [options.image] if options.image else sorted(digests)
    if unknown := [image for image in images if image not in digests]:
        known = ", ".join(sorted(digests)) or "none"
        raise InputError(f"there are no digests of '{unknown[0]}'", hint=f"There are those of: {known}.")
    expected = {name: sha256 for image in images for name, sha256 in digests[image].items()}
    folder: Path = options.dist
    there = {path.name: path for path in folder.glob("[!.]*") if path.is_file()}
    if not expected or expected.keys() != there.keys():
        missing = ", ".join(sorted(expected.keys() - there.keys())) or "nothing"
        foreign = ", ".join(sorted(there.keys() - expected.keys())) or "nothing"
        raise VerificationError(f"{folder} lacks {missing}, and nobody vouches for {foreign}", hint=RERUN)
    with reporter.step("Hashing what was downloaded"):
        actual = {name: sha256_file(path) for name, path in sorted(there.items())}
    for name, sha256 in actual.items():
        if sha256 != expected[name]:
            raise VerificationError(f"{name} has SHA-256 {sha256}, handed on was {expected[name]}", hint=RERUN)
    reporter.note(f"{len(expected)} files are what was built and tested")
    if len(images) == 1:
        endings = {"qcow2": artifacts.IMAGE, "sbom": artifacts.SBOM}
        found = {what: str(next(folder.glob(f"[!.]*{ending}"), "")) for what, ending in endings.items()}
        actions.set_outputs(found, environ)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
