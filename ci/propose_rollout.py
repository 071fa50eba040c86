"""Propose to roll a published release out: a pull request that points the manifest to it.

With FOUNTAINKIT_REPOSITORY and FOUNTAINKIT_TOKEN also one to FountainKit's own manifest, at FOUNTAINKIT_MANIFEST and of
FOUNTAINKIT_FORM. Run it again after any failure: it finds its branch and its pull request, and brings them up to date.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from ci.fetch.download import parse_sha256
from ci.fetch.provenance import Origin, prove
from ci.fetch.retry import Patience
from ci.github.answers import Pull
from ci.github.client import GitHub
from ci.github.context import Context, chosen_tag
from ci.github.failures import nothing_vanishes
from ci.host import actions, cli
from ci.host.errors import InputError, UnprovenError, VerificationError
from ci.host.progress import Reporter
from ci.host.workspace import cache_folder, work_folder
from ci.records import artifacts
from ci.records.release import ReleaseRecord
from ci.records.version import Version
from ci.release import rollout, targets
from ci.release.read_back import read_published, require_unchanged
from ci.release.rollout import ProposedChange

FOUNTAINKIT_REPOSITORY = "FOUNTAINKIT_REPOSITORY"
FOUNTAINKIT_TOKEN = "FOUNTAINKIT_TOKEN"  # noqa: S105 - a name, not a token


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeRolloutRequest:
    """Which release to roll out. `reopen` proposes again what a person closed or took back, and a pre-release.

    `record_sha256` is what publishing told: without it the record must be attested.
    """

    tag: Version
    record_sha256: str | None = None
    repository: str | None = None
    reopen: bool = False
    dry_run: bool = False


def arguments() -> argparse.ArgumentParser:
    result = cli.parser("toolsmith-image roll-out", __doc__)
    result.add_argument("--tag", help="the published release, vYYYY.MM.DD[.N] [the pushed tag]")
    result.add_argument(
        "--record-sha256", metavar="SHA256", help="of its release.json, as `publish` told [what is attested]"
    )
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument(
        "--reopen", action="store_true", help="also what a person closed, took back, or marked as a pre-release"
    )
    result.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing: no token")
    return result


def request(options: argparse.Namespace, environ: Mapping[str, str]) -> ProposeRolloutRequest:
    """What the flags, and the variables for those that are missing, ask for; raises InputError without a tag."""
    tag = chosen_tag(options.tag, environ)
    if tag is None:
        raise InputError("there is no tag to roll out", hint="Name a published release with --tag.")
    record_sha256 = None if options.record_sha256 is None else parse_sha256(options.record_sha256)
    return cli.filled(ProposeRolloutRequest, options, tag=tag, record_sha256=record_sha256)


def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> None:
    propose_rollout(request(options, environ), reporter, environ=environ, patience=patience)


@nothing_vanishes()
def propose_rollout(
    request: ProposeRolloutRequest, reporter: Reporter, *, environ: Mapping[str, str], patience: Patience | None = None
) -> None:
    """Open or update the pull requests, or show them; raises what docs/exit-codes.md lists."""
    context = Context.from_environment(environ, repository=request.repository, anonymous=request.dry_run)
    github = GitHub(context, reporter, patience)
    consumer = _consumer(request, reporter, environ, patience)
    place = targets.ConsumerManifest.from_environment({} if consumer is None else environ)
    with reporter.step("Comparing the release with its record"):
        vouch = partial(_vouch, request, github)
        published = read_published(github, str(request.tag), vouch, prerelease=request.reopen)
    confirm = partial(require_unchanged, github, published)
    pulls = [_propose(github, targets.own(github, published), request, reporter, confirm)]
    if consumer is not None:
        change = targets.fountainkit(consumer, published, github, place)
        pulls.append(_propose(consumer, change, request, reporter, confirm))
    actions.set_outputs({"pull-requests": "\n".join(pull.html_url for pull in pulls if pull is not None)}, environ)


def _vouch(request: ProposeRolloutRequest, github: GitHub, data: bytes, record: ReleaseRecord) -> None:
    """Raise unless the record in `data` is what was published; a dry run only warns where nothing tells."""
    expected, found = request.record_sha256, sha256(data).hexdigest()
    if expected not in {None, found}:
        raise VerificationError(
            f"the {artifacts.RELEASE} of {record.tag} is not the one that was published: SHA-256 {found}, "
            f"expected {expected}",
            hint="Somebody replaced it. Publish the day's next version; do not roll this one out.",
        )
    if expected is None:
        try:
            _prove(github, data, record)
        except UnprovenError as failure:
            if not request.dry_run:
                hint = f"{failure.hint} Or name its digest, which `publish` told, with --record-sha256."
                raise UnprovenError(artifacts.RELEASE, failure.reason, hint=hint) from failure
            github.reporter.warn(failure.message)


def _prove(github: GitHub, data: bytes, record: ReleaseRecord) -> None:
    """Raise VerificationError or UnprovenError unless the release workflow made a record's bytes, at its tag."""
    facts = github.repository()
    origin = Origin(
        repository=record.repository,
        tag=record.tag,
        commit=record.commit,
        default_branch=facts.default_branch,
        repository_id=facts.id,
    )
    with work_folder(cache_folder() / "rollout") as folder:
        file = folder / artifacts.RELEASE
        file.write_bytes(data)
        prove(file, origin, github.context)


def _consumer(
    request: ProposeRolloutRequest, reporter: Reporter, environ: Mapping[str, str], patience: Patience | None
) -> GitHub | None:
    """FountainKit's repository, where the environment names it."""
    name = environ.get(FOUNTAINKIT_REPOSITORY)
    if not name:
        return None
    if not environ.get(FOUNTAINKIT_TOKEN) and not request.dry_run:
        reporter.warn(
            f"{FOUNTAINKIT_REPOSITORY} is set and {FOUNTAINKIT_TOKEN} is not: "
            f"{name} gets no pull request for {request.tag}"
        )
        return None
    context = Context.from_environment(
        environ, repository=name, token_variable=FOUNTAINKIT_TOKEN, anonymous=request.dry_run
    )
    return GitHub(context, reporter, patience)


def _propose(
    github: GitHub,
    change: ProposedChange | str,
    request: ProposeRolloutRequest,
    reporter: Reporter,
    confirm: Callable[[], None],
) -> Pull | None:
    repository = github.context.repository
    if isinstance(change, str):
        reporter.note(f"{repository}: {change}")
        return None
    found = rollout.survey(github, change, reopen=request.reopen)
    if request.dry_run:
        where = f"update {found.pull.html_url}" if found.pull else "open a pull request"
        reporter.note(f"{repository}: would {where}, from {change.branch} to {change.base} at {change.head.sha}")
        for file, text in change.files.items():
            reporter.note(rollout.shown_diff(file.path, (file.data or b"").decode("utf-8", "replace"), text))
        reporter.note(f"{change.title}\n\n{change.body}")
        return found.pull
    result = rollout.carry_out(github, change, found, reporter, confirm)
    reporter.note(f"{repository}: pull request {result.outcome}: {result.pull.html_url}")
    return result.pull


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
