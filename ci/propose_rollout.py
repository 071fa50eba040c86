"""Propose to roll a published release out: a pull request that points the manifest to it.

With FOUNTAINKIT_REPOSITORY and FOUNTAINKIT_TOKEN also one to FountainKit's own manifest. Run it again after any
failure: it finds its branch and its pull request, and brings them up to date.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ci.fetch.retry import Patience
from ci.github.answers import Pull
from ci.github.client import GitHub
from ci.github.context import Context, chosen_tag
from ci.github.failures import nothing_vanishes
from ci.host import actions, cli
from ci.host.errors import InputError
from ci.host.progress import Reporter
from ci.records.version import Version
from ci.release import rollout, targets
from ci.release.read_back import read_published
from ci.release.rollout import ProposedChange

FOUNTAINKIT_REPOSITORY = "FOUNTAINKIT_REPOSITORY"
FOUNTAINKIT_TOKEN = "FOUNTAINKIT_TOKEN"  # noqa: S105 - a name, not a token


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeRolloutRequest:
    """Which release to roll out. `reopen` proposes again what a person closed or took back."""

    tag: Version
    repository: str | None = None
    reopen: bool = False
    dry_run: bool = False


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("python -m ci.propose_rollout", __doc__)
    result.add_argument("--tag", help="the published release, vYYYY.MM.DD[.N] [the pushed tag]")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--reopen", action="store_true", help="propose again what a person closed or took back")
    result.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    return result


def request(options: argparse.Namespace, environ: Mapping[str, str]) -> ProposeRolloutRequest:
    """What the flags, and the variables for those that are missing, ask for; raises InputError without a tag."""
    tag = chosen_tag(options.tag, environ)
    if tag is None:
        raise InputError("there is no tag to roll out", hint="Name a published release with --tag.")
    return ProposeRolloutRequest(tag=tag, repository=options.repository, reopen=options.reopen, dry_run=options.dry_run)


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> int:
    propose_rollout(request(options, environ), reporter, environ=environ, patience=patience)
    return 0


@nothing_vanishes()
def propose_rollout(
    request: ProposeRolloutRequest,
    reporter: Reporter,
    *,
    environ: Mapping[str, str],
    patience: Patience | None = None,
) -> None:
    """Open or update the pull requests, or show them; raises what docs/exit-codes.md lists."""
    github = GitHub(Context.from_environment(environ, repository=request.repository), reporter, patience)
    consumer = _consumer(str(request.tag), reporter, environ, patience)
    with reporter.step("Comparing the published assets with their record"):
        record = read_published(github, str(request.tag))
    pulls = [_propose(github, targets.own(github, record), request, reporter)]
    if consumer is not None:
        pulls.append(_propose(consumer, targets.fountainkit(consumer, record), request, reporter))
    actions.set_outputs({"pull-requests": "\n".join(pull.html_url for pull in pulls if pull is not None)}, environ)


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


def _propose(
    github: GitHub, change: ProposedChange | None, request: ProposeRolloutRequest, reporter: Reporter
) -> Pull | None:
    repository = github.context.repository
    if change is None:
        reporter.note(f"{repository}: the manifest points to this release already")
        return None
    found = rollout.survey(github, change, reopen=request.reopen)
    if request.dry_run:
        where = f"update {found.pull.html_url}" if found.pull else "open a pull request"
        reporter.note(f"{repository}: would {where}, from {change.branch} to {change.base} at {change.head.sha}")
        for path, text in change.files.items():
            reporter.note(rollout.shown_diff(path, change.before.get(path, ""), text))
        reporter.note(f"{change.title}\n\n{change.body}")
        return found.pull
    result = rollout.carry_out(github, change, found, reporter)
    reporter.note(f"{repository}: pull request {result.outcome}: {result.pull.html_url}")
    return result.pull


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
