"""Look for a newer base image in the signed stream that a definition follows, and propose it: one pull request.

Changes the URL and the digest in the definition, on a branch that later runs bring up to date. Nothing is merged, and
no image is fetched: the pull request's checks do that.
"""

import argparse
import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.github.answers import Commit
from ci.github.client import GitHub
from ci.github.context import Context
from ci.github.failures import nothing_vanishes
from ci.host import actions, cli
from ci.host.errors import InputError, ToolsmithError
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.image.base.refresh import Newer, Nothing, find_newer
from ci.image.base.repin import repinned
from ci.image.definition import Definition, load_definition, parse_definition
from ci.release import base_refresh, rollout
from ci.release.base_refresh import BaseFacts, Refresh
from ci.release.targets import default_branch, text_at
from ci.text.markdown import Markdown, code, link

FOLDER = "build/images"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where refreshes go: a repository, its default branch and that branch's head."""

    github: GitHub
    base: str
    head: Commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of one definition: for the run's page, and the pull request if there is one."""

    text: Markdown
    pull: str | None = None


def arguments() -> argparse.ArgumentParser:
    """The flags."""
    result = cli.parser("python -m ci.refresh_base", __doc__)
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
) -> int:
    """Look, and propose or show; raises what docs/exit-codes.md lists."""
    patience = patience or Patience()
    names = followers(options.image)
    target = None if options.dry_run else _target(options, reporter, environ, patience)
    failures: list[ToolsmithError] = []
    pulls: list[str] = []
    for name in names:
        try:
            told = _refresh(name, target, options, reporter, patience)
        except ToolsmithError as failure:
            if failures:  # the first one is told by its exit code
                reporter.warn(f"{name}: {failure.message}")
            failures.append(failure)
            continue
        actions.append_summary(f"### Base of {code(name)}\n\n{told.text}", environ)
        pulls += [told.pull] if told.pull else []
    actions.set_outputs({"pull-requests": "\n".join(pulls)}, environ)
    if failures:
        raise failures[0]
    return 0


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


def _target(options: argparse.Namespace, reporter: Reporter, environ: Mapping[str, str], patience: Patience) -> Target:
    github = GitHub(Context.from_environment(environ, repository=options.repository), reporter, patience)
    base, head = default_branch(github, "A refresh")
    return Target(github=github, base=base, head=head)


def _refresh(
    name: str, target: Target | None, options: argparse.Namespace, reporter: Reporter, patience: Patience
) -> Told:
    path = f"{FOLDER}/{name}.toml"
    text = _read(path, target)
    definition = _follower(parse_definition(text, path, ROOT / FOLDER), name)
    found = find_newer(definition.base, path, root=ROOT, reporter=reporter, client=Client(patience=patience))
    if isinstance(found, Nothing):
        return _nothing(name, found, target, reporter)
    refresh = _as_refresh(name, path, repinned(text, found.url, found.sha256, path), found)
    if target is None:
        return _show(refresh, text, reporter)
    return _propose(refresh, target, reporter, reopen=options.reopen)


def _read(path: str, target: Target | None) -> str:
    """The definition: of the default branch, which may be ahead of this checkout, or of this checkout."""
    if target is None:
        return (ROOT / path).read_text(encoding="utf-8")
    return text_at(target.github, path, target.head, "or the checkout is of another branch")


def _follower(definition: Definition, name: str) -> Definition:
    if definition.base.streams is None:
        raise InputError(
            f"the image '{name}' follows a stream here, and not on the default branch",
            hint="Merge its table [base.streams] first.",
        )
    return definition


def _as_refresh(name: str, path: str, text: str, found: Newer) -> Refresh:
    old = found.pinned
    return Refresh(
        name=name,
        path=path,
        text=text,
        old=BaseFacts(serial=str(old.serial), url=old.url, sha256=old.sha256),
        new=BaseFacts(serial=str(found.serial), url=found.url, sha256=found.sha256),
        size=found.size,
        index=found.index,
        updated=found.updated,
        stream_signer=found.stream_signer,
        checksums_signer=found.checksums_signer,
        vanished=found.vanished,
    )


def _nothing(name: str, found: Nothing, target: Target | None, reporter: Reporter) -> Told:
    tell = reporter.warn if found.unusual else reporter.note
    tell(f"{name}: nothing to do: {found.reason}")
    text = f"Nothing to do: {code(found.reason)}."
    for pull in target.github.pulls(base_refresh.branch(name)) if target else []:
        if pull.open:
            reporter.warn(f"{name}: {pull.html_url} is open all the same; see whether it still applies")
            text += f" {link('A pull request', pull.html_url)} is open all the same: see whether it still applies."
    return Told(text=Markdown(text))


def _show(refresh: Refresh, before: str, reporter: Reporter) -> Told:
    lines = difflib.unified_diff(
        before.splitlines(), refresh.text.splitlines(), f"a/{refresh.path}", f"b/{refresh.path}", lineterm=""
    )
    reporter.note(f"{refresh.name}: would propose {refresh.new.serial}:\n" + "\n".join(lines))
    reporter.note(f"\n{base_refresh.text(refresh)}")
    return Told(text=Markdown(f"Would propose {code(refresh.new.serial)} instead of {code(refresh.old.serial)}."))


def _propose(refresh: Refresh, target: Target, reporter: Reporter, *, reopen: bool) -> Told:
    change = base_refresh.change(refresh, target.base)
    if not reopen and (closed := rollout.turned_down(target.github, change)):
        # A decision, and no failure: the next serial is proposed again.
        word = "merged and taken back" if closed.merged_at else "closed"
        reporter.warn(f"{refresh.name}: nothing to do: {change.name} was {word}: {closed.html_url} (--reopen)")
        return Told(
            text=Markdown(f"Nothing to do: {link(code(change.name), closed.html_url)} was {word}, and stays so.")
        )
    found = rollout.survey(target.github, change, target.head, reopen=reopen)
    result = rollout.carry_out(target.github, change, found, reporter)
    reporter.note(f"{refresh.name}: pull request {result.outcome}: {result.pull.html_url}")
    what = link(f"Pull request {result.outcome}", result.pull.html_url)
    return Told(
        text=Markdown(f"{what}: {code(refresh.new.serial)} instead of {code(refresh.old.serial)}."),
        pull=result.pull.html_url,
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, arguments()))
