"""Report on a pull request what its images came to, beside the last release: on the run's page and in one comment.

The comment is changed by later runs. Where the token may not write, as in a pull request from a fork, there is none.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ci.comparison.image_facts import Evidence, of_release
from ci.comparison.pull_request import Before, read_evidence, render
from ci.fetch.retry import Patience
from ci.fetch.source import AbsentError
from ci.github.client import GitHub
from ci.github.context import Context, run_url
from ci.github.conversation import find_comment, put_comment
from ci.host import actions, cli
from ci.host.errors import AccessError, InputError, RemoteError, UnprovenError, VerificationError
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.release.read_back import newest_release, read_file, read_record
from ci.text.markdown import Markdown
from ci.workflow.collect_images import parse_images

MARKER = "<!-- fountainkit-toolsmith-image: images -->"
NOTHING = Markdown("No image was built: nothing that an image is made of or by has changed.")
FAILED = Markdown("No image was built: the run failed before that. Its page says why.")
SUCCESS = "success"  # as Actions writes the result of a job


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    env = os.environ
    result = cli.parser("toolsmith-image report-pull-request", __doc__)
    result.add_argument("--dist", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    result.add_argument("--images", default=env.get("IMAGES", ""), help="the definitions, as a JSON list [IMAGES]")
    result.add_argument("--result", default=env.get("RESULT", ""), help="how the images' jobs ended [RESULT]")
    result.add_argument("--pull-request", default=env.get("PULL_REQUEST", ""), metavar="N", help="[PULL_REQUEST]")
    return result


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> None:
    """Report; raises what docs/exit-codes.md lists."""
    found = read_evidence(options.dist)
    # Where planning failed there is no list; what was built is then all there is to tell.
    images = sorted(found) if options.images in {"", "[]"} else parse_images(options.images)
    good = options.result == SUCCESS
    context = Context.from_environment(environ)
    github = GitHub(context, reporter, patience)
    before = _before(github, found)
    text = NOTHING if good else FAILED
    if images:
        text = render(images, found, before, good=good, run=run_url(environ))
    actions.append_summary(text, environ)
    reporter.note(text)
    _comment(github, options.pull_request, text, anew=bool(images), reporter=reporter)


def _comment(github: GitHub, number: str, text: Markdown, *, anew: bool, reporter: Reporter) -> None:
    """Put the comment; a pull request that needs none gets none, but an earlier one is brought up to date."""
    if not number.isdigit():
        raise InputError(f"{number!r} is not a pull request", hint="It is its number.")
    try:
        if anew or find_comment(github, int(number), MARKER):
            comment = put_comment(github, int(number), MARKER, text)
            reporter.note(f"The comment: {comment.html_url}")
    except AccessError:
        reporter.note("The token may not comment, as in a pull request from a fork: the run's page has the report.")


def _before(github: GitHub, found: Mapping[str, Evidence]) -> dict[str, Before]:
    """The images of the last release. What cannot be read of it is said, and not compared."""
    release = newest_release(github.releases())
    if release is None or not found:
        return {}
    try:
        record = read_record(github, release)
        past = {image.distribution: image for image in record.images}
        return {
            name: Before(
                tag=record.tag,
                url=release.html_url,
                image=of_release(record.tag, record, past[one.build.distribution], partial(read_file, github, release)),
            )
            for name, one in found.items()
            if one.build.distribution in past
        }
    except (VerificationError, UnprovenError, InputError, RemoteError, AbsentError) as problem:
        github.reporter.warn(f"{release.tag_name} cannot be compared with: {problem}")
        return {}


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
