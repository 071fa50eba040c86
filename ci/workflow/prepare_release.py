"""Make what a release has beside the images, so that it can be attested first: its record and the consumer's tool.

Writes `release.json`, `manifest-snippet.json` and `ensure-vm.pyz` beside the images and reports, and sets the outputs
`record-sha256` and `tool-sha256`. It only reads GitHub. publish makes the same files again, and takes no
other record than the one of the digest that it is given.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ci.consume.bundle import write_archive_of
from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context, chosen_tag, run_url
from ci.github.failures import nothing_vanishes
from ci.host import actions, cli
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.image.definition import RELEASE_IMAGE
from ci.release import proposal as proposals
from ci.release.dist import local_file


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("toolsmith-image prepare-release", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--tag", help="vYYYY.MM.DD[.N] [the pushed tag; the version in dist]")
    result.add_argument("--image", default=RELEASE_IMAGE, metavar="NAME", help="of several, the manifest's")
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
    bundle: Callable[[Path, str | None], Path] = write_archive_of,
) -> None:
    """Write the files; raises what docs/exit-codes.md lists."""
    context = Context.from_environment(environ)
    with reporter.step("Reading and hashing what was built and tested"):
        images, commit = proposals.read_images(options.dist, chosen_tag(options.tag, environ), options.image, context)
    github = GitHub(context, reporter, patience)
    with reporter.step("Looking at earlier releases"):
        github.repository()
        releases = github.releases()
        ensure_vm = local_file(bundle(options.dist, commit))
        record = proposals.make_record(github, releases, images, ensure_vm, run=run_url(environ), attested=True)
    snippet, record_file = proposals.write_own_files(record, options.dist)
    for file in (record_file, snippet, ensure_vm):
        reporter.note(f"{file.path}: SHA-256 {file.sha256}")
    actions.set_outputs({"record-sha256": record_file.sha256, "tool-sha256": ensure_vm.sha256}, environ)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
