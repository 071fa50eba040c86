"""Propose to roll a published release out: a pull request that points the manifest to it.

With FOUNTAINKIT_REPOSITORY and FOUNTAINKIT_TOKEN also one to FountainKit's own manifest. Run it again after any
failure: it finds its branch and its pull request, and brings them up to date.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence

from ci.fetch.retry import Patience
from ci.github.answers import Pull
from ci.github.client import GitHub
from ci.github.context import Context, chosen_tag
from ci.github.failures import nothing_vanishes
from ci.github.transfer import Transfer
from ci.host import actions, cli
from ci.host.errors import InputError
from ci.host.progress import Reporter
from ci.release import rollout, targets
from ci.release.read_back import read_published
from ci.release.targets import Proposed

FOUNTAINKIT_REPOSITORY = "FOUNTAINKIT_REPOSITORY"
FOUNTAINKIT_TOKEN = "FOUNTAINKIT_TOKEN"  # noqa: S105 - a name, not a token


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.propose_rollout", __doc__)
    result.add_argument("--tag", help="the published release, vYYYY.MM.DD[.N] [the pushed tag]")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--attested", action="store_true", help="the texts say how to verify the attestation")
    result.add_argument("--reopen", action="store_true", help="propose again what a person closed or took back")
    result.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> int:
    """Open or update the pull requests, or show them; raises what docs/exit-codes.md lists."""
    tag = chosen_tag(options.tag, environ)
    if tag is None:
        raise InputError("there is no tag to roll out", hint="Name a published release with --tag.")
    context = Context.from_environment(environ, repository=options.repository)
    github = GitHub(context, reporter, patience)
    consumer = _consumer(str(tag), reporter, environ, patience)
    with (
        reporter.step("Comparing the published assets with their record"),
        Transfer(context, github.patience) as bytes_,
    ):
        record = read_published(github, bytes_, str(tag), reporter)
    pulls = [_propose(github, targets.own(github, record, attested=options.attested), options, reporter)]
    if consumer is not None:
        proposed = targets.fountainkit(consumer, record, attested=options.attested)
        pulls.append(_propose(consumer, proposed, options, reporter))
    actions.set_outputs({"pull-requests": "\n".join(pull.html_url for pull in pulls if pull is not None)}, environ)
    return 0


def _consumer(tag: str, reporter: Reporter, environ: Mapping[str, str], patience: Patience | None) -> GitHub | None:
    """FountainKit's repository, where the environment names it."""
    name = environ.get(FOUNTAINKIT_REPOSITORY)
    if not name:
        return None
    if not environ.get(FOUNTAINKIT_TOKEN):
        reporter.warn(
            f"{FOUNTAINKIT_REPOSITORY} is set and {FOUNTAINKIT_TOKEN} is not: {name} gets no pull request for {tag}"
        )
        return None
    context = Context.from_environment(environ, repository=name, token_variable=FOUNTAINKIT_TOKEN)
    return GitHub(context, reporter, patience)


def _propose(github: GitHub, proposed: Proposed | None, options: argparse.Namespace, reporter: Reporter) -> Pull | None:
    repository = github.context.repository
    if proposed is None:
        reporter.note(f"{repository}: the manifest points to this release already")
        return None
    found = rollout.survey(github, proposed.change, proposed.head, reopen=options.reopen)
    if options.dry_run:
        _show(repository, proposed, found, reporter)
        return found.pull
    result = rollout.carry_out(github, proposed.change, found, reporter)
    reporter.note(f"{repository}: pull request {result.outcome}: {result.pull.html_url}")
    return result.pull


def _show(repository: str, proposed: Proposed, found: rollout.Survey, reporter: Reporter) -> None:
    change = proposed.change
    where = f"update {found.pull.html_url}" if found.pull else "open a pull request"
    reporter.note(f"{repository}: would {where}, from {change.branch} to {change.base} at {proposed.head.sha}")
    for path, text in change.files.items():
        reporter.note(_diff(path, proposed.before.get(path, ""), text))
    reporter.note(f"{change.title}\n\n{change.body}")


def _diff(path: str, before: str, after: str) -> str:
    lines: Sequence[str] = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm="")
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
