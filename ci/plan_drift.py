"""Find the newest release, and with what it is built again to see whether it still comes out the same.

Sets the outputs `tag`, `commit` and `images`, a JSON list of definitions with their bases and the time they say they
were built at; `tag` is empty where there is no release yet.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping

from ci.fetch.retry import Patience
from ci.github.client import GitHub
from ci.github.context import Context
from ci.github.failures import nothing_vanishes
from ci.github.transfer import Transfer
from ci.host import actions, cli
from ci.host.errors import RefusedError, VerificationError
from ci.host.progress import Reporter
from ci.records.build import Verification
from ci.records.release import ImageRelease, ReleaseRecord
from ci.release.read_back import newest_release, read_record_of
from ci.text.markdown import code, link

# They become part of a job's name and of command lines.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.plan_drift", __doc__)
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> int:
    """Plan; raises what docs/exit-codes.md lists."""
    context = Context.from_environment(environ, repository=options.repository)
    github = GitHub(context, reporter, patience)
    release = newest_release(github)
    if release is None:
        reporter.note("There is no release yet, so nothing is built again")
        actions.append_summary("There is no release yet, so nothing was built again.", environ)
        actions.set_outputs({"tag": "", "commit": "", "images": "[]"}, environ)
        return 0
    with Transfer(context, github.patience) as transfer:
        record = read_record_of(github, transfer, release)
    images = require_buildable(record, github.tag_commit(record.tag))
    rows = [("release", record.tag), ("commit", record.commit)]
    rows += [(f"base of {name}", f"{one.base.url} {one.base.sha256}") for name, one in images.items()]
    reporter.table("Built again", ("what", "value"), rows)
    actions.append_summary(
        f"Builds {', '.join(code(name) for name in images)} of {link(code(record.tag), release.html_url)} again.",
        environ,
    )
    legs = json.dumps(
        [
            {"name": name, "built-at": str(int(image.built_at.timestamp())), **base_of(image)}
            for name, image in images.items()
        ]
    )
    actions.set_outputs({"tag": record.tag, "commit": record.commit, "images": legs}, environ)
    return 0


def require_buildable(record: ReleaseRecord, tagged: str | None) -> dict[str, ImageRelease]:
    """The images of a release by their definitions. Raises RefusedError or VerificationError for what is not safe.

    The commit's scripts are run: it must be the tag's, for GitHub finds commits of anybody's fork in a repository too.
    """
    if tagged != record.commit or not COMMIT.fullmatch(record.commit):
        raise RefusedError(
            f"the record of {record.tag} is of commit {record.commit[:80]}, its tag is on {tagged}",
            hint="Somebody moved the tag or edited the record: find out which. Nothing was built.",
        )
    images = {image.definition: image for image in (record.image, *record.others)}
    for name in images:
        if not NAME.fullmatch(name):
            raise VerificationError(f"{name[:80]!r} cannot be an image's name", hint="Look at the release's record.")
    return images


def base_of(image: ImageRelease) -> dict[str, str]:
    """The base to build from; empty for one made from packages, which is made anew."""
    if image.base.verification is Verification.SIGNED_PACKAGES:
        return {"base-url": "", "base-sha256": ""}
    return {"base-url": image.base.url, "base-sha256": image.base.sha256}


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
