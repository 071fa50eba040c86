"""Compare two images: packages, sizes, configuration, checks, time to start. Of one: where time and bytes went.

A and B are each a build (*.build.json, or its name in dist/), a tag (of releases/, else of --repository), a list of
packages (*.packages.tsv), or an https URL of a release.json or of a list of packages. A alone is a build; its picture
is drawn beside its record, <stem>.sizes.svg.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.comparison.difference import Difference
from ci.comparison.image_facts import difference
from ci.comparison.lookup import Lookup
from ci.comparison.words import markdown, text
from ci.fetch.github_access import access_from
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.github.context import require_repository
from ci.host import cli
from ci.host.errors import InputError
from ci.host.progress import Reporter, write_json, write_result
from ci.host.repository import ROOT
from ci.image.explain import explain
from ci.records import artifacts

FORMATS: Mapping[str, Callable[[Difference], None]] = {
    "text": lambda found: write_result(text(found)),
    "markdown": lambda found: write_result(markdown(found)),
    "json": lambda found: write_json(found.model_dump(mode="json", by_alias=True)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareRequest:
    """What to compare, as people name it; without `new`, `old` is explained. `image` is a definition of a release's."""

    old: str
    new: str | None = None
    output: str = "text"
    image: str | None = None
    dist: Path = ROOT / "dist"
    releases: Path = ROOT / "releases"
    repository: str = ""


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("toolsmith-image compare", __doc__)
    result.add_argument("old", metavar="A", help="the older image")
    result.add_argument("new", metavar="B", nargs="?", help="the newer image")
    result.add_argument("--format", choices=FORMATS, default="text", dest="output", help="what to print (%(default)s)")
    result.add_argument("--image", metavar="NAME", help="the definition, where a release has several images")
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--repository", metavar="OWNER/NAME", help="the releases of tags [GITHUB_REPOSITORY]")
    return result


def request(options: argparse.Namespace, environ: Mapping[str, str]) -> CompareRequest:
    """What the flags, and the variables for those that are missing, ask for."""
    repository = options.repository or environ.get("GITHUB_REPOSITORY", "")
    return cli.filled(CompareRequest, options, repository=repository)


def main(options: argparse.Namespace, reporter: Reporter) -> None:
    """Print the difference, or the tables of one image. A difference is no failure."""
    compare(request(options, os.environ), reporter, environ=os.environ)


def compare(
    request: CompareRequest,
    reporter: Reporter,
    *,
    environ: Mapping[str, str],
    patience: Patience | None = None,
) -> None:
    """Compare, or explain; raises what docs/exit-codes.md lists."""
    if request.repository:
        require_repository(request.repository)
    access = access_from(environ)
    lookup = Lookup(
        dist=request.dist,
        releases=request.releases,
        server=access.server_url,
        repository=request.repository,
        client=Client(patience=patience or Patience(), github=access),
        reporter=reporter,
    )
    if request.new is not None:
        found = difference(*lookup.pair(request.old, request.new, request.image))
        FORMATS[request.output](found)
        return
    path = lookup.local_file(request.old)
    if path is None or not path.name.endswith(artifacts.BUILD):
        raise InputError(f"{request.old!r} is no build", hint="Name its record: dist/<stem>.build.json")
    explain(path, reporter)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
