"""Compare two images: packages, sizes, configuration, checks, time to start. Each is a build, a release, or a list.

A and B are each a file (*.build.json, *.packages.tsv, release.json), a folder with one build, the name of a build in
dist/, a tag (of releases/, else of --repository), or an https URL of release.json or of a package list.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ci.comparison.image_facts import difference
from ci.comparison.lookup import Fetch, Places, look_up
from ci.comparison.words import markdown, text
from ci.fetch.github_access import access_from
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.github.context import require_repository
from ci.host import cli
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.records.difference import Difference

FORMATS: Mapping[str, Callable[[Difference], str]] = {"text": text, "markdown": markdown, "json": Difference.to_json}


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.compare", __doc__)
    result.add_argument("old", metavar="A", help="the older image")
    result.add_argument("new", metavar="B", help="the newer image")
    result.add_argument("--format", choices=FORMATS, default="text", help="what to print (default: text)")
    result.add_argument("--image", metavar="NAME", help="the definition, where a release has several images")
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--repository", metavar="OWNER/NAME", help="the releases of tags [GITHUB_REPOSITORY]")
    return result


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
    releases: Path = ROOT / "releases",
) -> int:
    """Print the difference; raises what docs/exit-codes.md lists. Returns 0 whether there is one or not."""
    repository = options.repository or environ.get("GITHUB_REPOSITORY", "")
    if repository:
        require_repository(repository)
    access = access_from(environ)
    places = Places(
        dist=options.dist,
        releases=releases,
        server=access.server_url,
        repository=repository,
    )
    client = Client(patience=Patience(sleep=sleep), github=access)
    fetch = Fetch(client=client, reporter=reporter)
    old, new = look_up(options.old, places, fetch), look_up(options.new, places, fetch)
    found = difference(
        old.side(options.image, new.images, fetch),
        new.side(options.image, old.images, fetch),
    )
    sys.stdout.write(FORMATS[options.format](found))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
