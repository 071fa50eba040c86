"""The roll-out: one atomic commit on one branch, named after the tag, and one pull request from it.

A later run finds both and brings them up to date. A commit that is not ours is never overwritten.
"""

import contextlib
import difflib
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ci.github.answers import Commit, Pull
from ci.github.client import GitHub
from ci.host.errors import AccessError, RefusedError, RejectedError, ToolsmithError
from ci.host.progress import Reporter

_TRAILERS = re.compile(
    r"^Toolsmith-Rollout: (?P<tag>\S+)\n"
    r"Toolsmith-Files: (?P<files>[0-9a-f]{64})\n"
    r"Toolsmith-Tree: (?P<tree>[0-9a-f]{40})\s*\Z",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedChange:
    """What a pull request is to bring to the branch `base`, whose head is `head`.

    `files` are whole new contents by path, `before` those of them that are there at `head`.
    `subject` is what messages call it. Where one branch serves one change after the other, `marker` is a line of the
    body that is this change's alone: what a person decided about the others does not count.
    """

    tag: str
    base: str
    head: Commit
    before: Mapping[str, str]
    branch: str
    files: Mapping[str, str]
    title: str
    body: str
    subject: str
    marker: str = ""

    def is_of(self, pull: Pull) -> bool:
        """True for a pull request that brings, or brought, this very change."""
        return not self.marker or pull.title == self.title or self.marker in (pull.body or "")

    @property
    def digest(self) -> str:
        """One SHA-256 over all files."""
        return hashlib.sha256(json.dumps(sorted(self.files.items())).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is there: our branch if it exists, and the pull request to use if there is one; a closed one is reopened."""

    current: Commit | None
    pull: Pull | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """The pull request, and whether it was made, changed, or right before."""

    pull: Pull
    outcome: Literal["opened", "updated", "as it should be already"]


def shown_diff(path: str, before: str, after: str) -> str:
    """What becomes of a file, for people."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm="")
    return "\n".join(lines)


def branch_name(tag: str) -> str:
    """The branch of a release's roll-out in this repository."""
    return f"rollout/{tag}"


def message(change: ProposedChange, tree: str) -> str:
    """The commit's message. Its trailers let a later run see what it brought, and that nobody changed it since."""
    trailers = {"Toolsmith-Rollout": change.tag, "Toolsmith-Files": change.digest, "Toolsmith-Tree": tree}
    return f"{change.title}\n\n" + "".join(f"{name}: {value}\n" for name, value in trailers.items())


def is_ours(commit: Commit, tag: str) -> bool:
    """True for a commit of this roll-out that still has the tree it was made with."""
    found = _TRAILERS.search(commit.message)
    return found is not None and found["tag"] == tag and found["tree"] == commit.tree.sha


def turned_down(github: GitHub, change: ProposedChange) -> Pull | None:
    """The pull request of this change that a person closed, or merged and took back; None where one is open."""
    pulls = _pulls(github, change)
    return pulls[0] if pulls and not any(pull.open for pull in pulls) else None


def _pulls(github: GitHub, change: ProposedChange) -> list[Pull]:
    there = [pull for pull in github.pulls(change.branch) if pull.base.ref == change.base]
    return [pull for pull in there if pull.open or change.is_of(pull)]


def survey(github: GitHub, change: ProposedChange, *, reopen: bool) -> Survey:
    """Look at branch and pull requests; raises RefusedError where a person has decided or worked there."""
    pulls = _pulls(github, change)
    latest = pulls[0] if pulls else None
    opened = next((pull for pull in pulls if pull.open), None)
    if latest is not None and opened is None and not reopen:
        raise RefusedError(
            f"{change.subject} was {'merged and taken back' if latest.merged_at else 'closed'}: {latest.html_url}",
            hint="Somebody decided so. To propose it again: --reopen.",
        )
    pull = opened or (latest if latest is not None and latest.merged_at is None else None)
    current = github.branch(change.branch) if latest is not None else None
    if current is not None:
        _require_ours(github, change, current)
    return Survey(current=current, pull=pull)


def _require_ours(github: GitHub, change: ProposedChange, current: Commit) -> None:
    commits = github.commits_between(change.head.sha, current.sha)
    foreign = [commit for commit in commits if not is_ours(commit, change.tag)]
    if foreign:
        first = foreign[0]
        raise RefusedError(
            f"the branch {change.branch} has {len(foreign)} commits that this command did not make, such as "
            f"{first.sha[:12]}: {first.message.splitlines()[0] if first.message else ''}",
            hint="Merge the pull request as it is, or move the commits elsewhere and delete the branch.",
        )


def carry_out(github: GitHub, change: ProposedChange, found: Survey, reporter: Reporter) -> PullResult:
    """Bring branch and pull request to where they should be; each step is safe to repeat."""
    pull = found.pull
    if reopened := pull is not None and not pull.open:
        pull = _reopen(github, pull)
    with reporter.step(f"Writing the branch {change.branch}"):
        moved = _write_branch(github, change, found)
    if pull is None:
        with reporter.step("Opening the pull request"):
            pull = _open(github, change, drop=moved and found.current is None)
        return PullResult(pull=pull, outcome="opened")
    wanted = {"title": change.title, "body": change.body}
    if {"title": pull.title, "body": (pull.body or "").replace("\r\n", "\n")} != wanted:
        with reporter.step("Updating the pull request"):
            pull = github.edit_pull(pull.number, wanted)
        return PullResult(pull=pull, outcome="updated")
    return PullResult(pull=pull, outcome="updated" if moved or reopened else "as it should be already")


def _open(github: GitHub, change: ProposedChange, *, drop: bool) -> Pull:
    """Open the pull request; where the token may not, `drop` the branch again, which nobody has seen."""
    try:
        return github.create_pull(branch=change.branch, base=change.base, title=change.title, body=change.body)
    except AccessError:
        if drop:
            with contextlib.suppress(ToolsmithError):
                github.delete_branch(change.branch)
        raise


def _reopen(github: GitHub, pull: Pull) -> Pull | None:
    """Open a closed pull request again; None where GitHub no longer can, as after its branch was deleted."""
    try:
        return github.edit_pull(pull.number, {"state": "open"})
    except RejectedError:
        return None


def _write_branch(github: GitHub, change: ProposedChange, found: Survey) -> bool:
    """Make the branch one commit on top of the base; False where it was that already."""
    if _is_up_to_date(found.current, change):
        return False
    tree = github.write_tree(change.head, change.files)
    commit = github.write_commit(change.head, tree, message(change, tree))
    if found.current is None:
        if github.create_branch(change.branch, commit.sha):
            return True
        # It is there without a pull request, or came to be just now: a run that was cut off, or somebody else.
        current = github.branch(change.branch)
        if current is not None:
            _require_ours(github, change, current)
            if _is_up_to_date(current, change):
                return False
    # GitHub's REST API cannot move a branch on the condition of where it is; the look above was moments ago.
    github.move_branch(change.branch, commit.sha)
    return True


def _is_up_to_date(current: Commit | None, change: ProposedChange) -> bool:
    """True for our untouched commit of these files on this very base."""
    if current is None or [parent.sha for parent in current.parents] != [change.head.sha]:
        return False
    found = _TRAILERS.search(current.message)
    return is_ours(current, change.tag) and found is not None and found["files"] == change.digest
