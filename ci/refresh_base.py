"""Look for a newer base image in the signed stream that a definition follows, and propose it: one pull request.

Changes the URL and the digest in the definition, on a branch that later runs bring up to date. Nothing is merged, and
no image is fetched: the pull request's checks do that.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.github.answers import Commit
from ci.github.client import GitHub
from ci.github.context import Context
from ci.github.failures import nothing_vanishes
from ci.github.files import RepositoryFile, Snapshot
from ci.host import actions, cli
from ci.host.errors import InputError, ToolsmithError
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.image.base.refresh import NothingNewerError, find_newer
from ci.image.base.repin import repinned
from ci.image.definition import load_definition, parse_definition
from ci.release import base_refresh, rollout
from ci.release.base_refresh import Refresh
from ci.release.targets import default_branch, text_of
from ci.text.markdown import Markdown, file_link, link

FOLDER = "build/images"


class RefreshTarget(NamedTuple):
    """Where refreshes go: a repository, its default branch and that branch's head."""

    github: GitHub
    base: str
    head: Commit


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("toolsmith-image refresh-base", __doc__)
    image = os.environ.get("IMAGE") or None
    result.add_argument("--image", default=image, metavar="NAME", help="[IMAGE; all that follow a stream]")
    result.add_argument("--repository", metavar="OWNER/NAME", help="[GITHUB_REPOSITORY]")
    result.add_argument("--reopen", action="store_true", help="propose again what a person closed or took back")
    result.add_argument(
        "--dry-run", action="store_true", help="show what would change in this checkout; needs no token"
    )
    return result


@nothing_vanishes()
def main(
    options: argparse.Namespace,
    reporter: Reporter,
    *,
    environ: Mapping[str, str] = os.environ,
    patience: Patience | None = None,
) -> None:
    """Look, and propose or show; raises the first failure, after all definitions were looked at."""
    names, patience = followers(options.image), patience or Patience()
    target = None
    if not options.dry_run:
        github = GitHub(Context.from_environment(environ, repository=options.repository), reporter, patience)
        target = RefreshTarget(github, *default_branch(github))
    failures: list[ToolsmithError] = []
    pulls: list[str] = []
    for name in names:
        try:
            text, pull = _refresh(name, target, reporter, patience, reopen=options.reopen)
        except ToolsmithError as failure:
            if failures:  # the first one is told by its exit code
                reporter.warn(f"{name}: {failure.message}")
            failures.append(failure)
            continue
        actions.append_summary(Markdown("### Base of {}\n\n{}").format(name, text), environ)
        pulls += [pull] if pull else []
    actions.set_outputs({"pull-requests": "\n".join(pulls)}, environ)
    if failures:
        raise failures[0]


def followers(only: str | None) -> list[str]:
    """The definitions that follow a stream; raises InputError where the one asked for does not, or none does."""
    folder = ROOT / FOLDER
    names = [only] if only else sorted(path.stem for path in folder.glob("*.toml"))
    found = [name for name in names if load_definition(name, folder).base.streams]
    if not found:
        raise InputError(
            f"the image '{only}' does not follow a stream" if only else "no image follows a stream",
            hint="Give its definition a table [base.streams]: docs/definitions.md.",
        )
    return found


def _refresh(
    name: str, target: RefreshTarget | None, reporter: Reporter, patience: Patience, *, reopen: bool
) -> tuple[Markdown, str]:
    """What became of one definition, for the run's page, and the pull request, if there is one."""
    path = f"{FOLDER}/{name}.toml"
    # The default branch may be ahead of this checkout.
    if target is None:
        text = (ROOT / path).read_text(encoding="utf-8")
        file = RepositoryFile(path=path, data=text.encode())
    else:
        file = Snapshot(target.github, target.head).find(path)
        text = text_of(file, target.github, path, "or the checkout is of another branch")
    base = parse_definition(text, path, ROOT / FOLDER).base
    if base.streams is None:
        raise InputError(
            f"the image '{name}' follows a stream here, and not on the default branch",
            hint="Merge its table [base.streams] first.",
        )
    try:
        found = find_newer(base, path, root=ROOT, reporter=reporter, client=Client(patience=patience))
    except NothingNewerError as nothing:
        return _nothing(name, nothing, target, reporter), ""
    new = repinned(text, found.url, found.offer.sha256, path)
    refresh = Refresh(name=name, file=file, text=new, newer=found)
    if target is None:
        reporter.note(f"{name}: would propose {found.offer.serial}:\n{rollout.shown_diff(path, text, new)}")
        reporter.note(f"\n{base_refresh.text(refresh)}")
        return Markdown("Would propose {}.").format(refresh.serials), ""
    return _propose(refresh, target, reporter, reopen=reopen)


def _nothing(name: str, found: NothingNewerError, target: RefreshTarget | None, reporter: Reporter) -> Markdown:
    tell = reporter.warn if found.unusual else reporter.note
    tell(f"{name}: nothing to do: {found}")
    texts = [Markdown("Nothing to do: {}.").format(str(found))]
    for pull in target.github.pulls(base_refresh.branch(name)) if target else []:
        if pull.open:
            reporter.warn(f"{name}: {pull.html_url} is open all the same; see whether it still applies")
            at = link("A pull request", pull.html_url)
            texts.append(Markdown("{} is open all the same: see whether it still applies.").format(at))
    return Markdown(" ").join(texts)


def _propose(refresh: Refresh, target: RefreshTarget, reporter: Reporter, *, reopen: bool) -> tuple[Markdown, str]:
    change = base_refresh.change(refresh, target.base, target.head)
    if not reopen and (closed := rollout.turned_down(target.github, change)):
        # A decision, and no failure: the next serial is proposed again.
        word = "merged and taken back" if closed.merged_at else "closed"
        reporter.warn(f"{refresh.name}: nothing to do: {change.subject} was {word}: {closed.html_url} (--reopen)")
        at = file_link(change.subject, closed.html_url)
        return Markdown("Nothing to do: {} was {}, and stays so.").format(at, Markdown(word)), ""
    found = rollout.survey(target.github, change, reopen=reopen)
    result = rollout.carry_out(target.github, change, found, reporter)
    url = result.pull.html_url
    reporter.note(f"{refresh.name}: pull request {result.outcome}: {url}")
    return Markdown("{}: {}.").format(link(f"Pull request {result.outcome}", url), refresh.serials), url


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
