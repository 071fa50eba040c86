"""The roll-out: one atomic commit on one branch, named after the tag, and one pull request from it.

A later run finds both and brings them up to date, and of several at once the others take over what the first made. A
commit that is not ours is never overwritten, nor what a person wrote into title and text of the pull request.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ci.github.answers import Commit, Pull
from ci.github.client import GitHub
from ci.github.failures import PULLS_OF_ACTIONS
from ci.github.files import RepositoryFile
from ci.host.errors import AccessError, RefusedError, RejectedError, ToolsmithError
from ci.host.progress import Reporter
from ci.release.publish import require_open
from ci.text.markdown import Markdown

_TRAILERS = re.compile(
    r"^Toolsmith-Rollout: (?P<tag>\S+)\n"
    r"Toolsmith-Files: (?P<files>[0-9a-f]{64})\n"
    r"Toolsmith-Tree: (?P<tree>[0-9a-f]{40})\s*\Z",
    re.MULTILINE,
)
LOOK_ANEW = "Run it again: it looks anew at what is there."
_BEGIN, _END = "<!-- fountainkit-toolsmith-image: {} -->", "<!-- fountainkit-toolsmith-image: end -->"
_TITLE = r"(?P<title>(?!end -->)[^\n]*?)"
_SECTION = re.compile(f"{_BEGIN.format(_TITLE)}.*?{_END}", re.DOTALL)


Outcome = Literal["opened", "updated", "as it should be already"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedChange:
    """What a pull request is to bring to the branch `base`, whose head is `head`.

    `files` are whole new contents of files as they are at `head`. `subject` is what messages call it. Where one branch
    serves one change after the other, it is `one_of_many`: what a person decided about the others does not count.
    """

    tag: str
    base: str
    head: Commit
    branch: str
    files: Mapping[RepositoryFile, str]
    title: str
    body: Markdown
    subject: str
    one_of_many: bool = False

    def is_of(self, pull: Pull) -> bool:
        """True for a pull request that brings, or brought, this very change."""
        begin = _BEGIN.format(self.title)
        return not self.one_of_many or pull.title == self.title or begin in (pull.body or "")

    @property
    def digest(self) -> str:
        """One SHA-256 over all files."""
        files = sorted((file.path, text) for file, text in self.files.items())
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()

    @property
    def section(self) -> str:
        """Our part of the pull request's text: what a person writes before or after it is theirs."""
        return f"{_BEGIN.format(self.title)}\n{self.body.replace(_END, '').strip()}\n{_END}"

    def edits(self, pull: Pull) -> dict[str, str]:
        """What must change in title and text of a pull request. A title that we did not write stays."""
        body = pull.body or ""
        found = _SECTION.search(body)
        edits: dict[str, str] = {}
        if found is None:
            edits["body"] = f"{body.rstrip()}\n\n{self.section}\n".lstrip()
        elif found[0].replace("\r\n", "\n") != self.section:
            edits["body"] = body[: found.start()] + self.section + body[found.end() :]
        if found is not None and pull.title == found["title"] != self.title:
            edits["title"] = self.title
        return edits


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is there: our branch if it exists, and the pull request to use if there is one; a closed one is reopened."""

    current: Commit | None
    pull: Pull | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullResult:
    """The pull request, and whether it was made, changed, or right before.

    `written` is the commit that this run put at the branch's head; None where it was right, too.
    """

    pull: Pull
    outcome: Outcome
    written: str | None = None


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
    current = github.branch(change.branch)
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


def carry_out(
    github: GitHub,
    change: ProposedChange,
    found: Survey,
    reporter: Reporter,
    confirm: Callable[[], None] = lambda: None,
) -> PullResult:
    """Bring branch and pull request to where they should be; each step is safe to repeat.

    `confirm` raises where the change must not be proposed any more. It is asked before the first step, and after the
    last: then what was done is taken back.
    """
    pull = found.pull
    if pull is not None and pull.open and _is_up_to_date(found.current, change) and not change.edits(pull):
        return PullResult(pull=pull, outcome="as it should be already")
    _require_place(github, change)
    confirm()
    result = _bring_about(github, change, found, reporter)
    try:
        confirm()
        _require_base(github, change, result.pull)
    except ToolsmithError:
        try:
            _take_back(github, change, found, result)
            reporter.warn(f"{result.pull.html_url} was proposed, and is taken back")
        except ToolsmithError as trouble:
            reporter.warn(f"{result.pull.html_url} must not be merged, and cannot be taken back: {trouble.message}")
        raise
    return result


def _require_place(github: GitHub, change: ProposedChange) -> None:
    """Raise RefusedError where nobody may write any more, or the files have a former name of the repository in them."""
    name = github.context.repository
    facts = github.repository()
    require_open(facts)
    if name != github.context.repository:
        raise RefusedError(f"{name} was renamed to {github.context.repository} meanwhile", hint=LOOK_ANEW)
    if facts.default_branch != change.base:
        raise _other_base(change, facts.default_branch)


def _require_base(github: GitHub, change: ProposedChange, pull: Pull) -> None:
    """Raise RefusedError where another branch became the default one, unless it took the pull request along."""
    base = github.repository().default_branch
    if base == change.base:
        return
    # https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository/
    # managing-branches-in-your-repository/renaming-a-branch
    taken = [one.number for one in github.pulls(change.branch) if one.base.ref == base]
    if pull.number not in taken:
        raise _other_base(change, base)


def _other_base(change: ProposedChange, base: str) -> RefusedError:
    return RefusedError(f"the default branch became {base} meanwhile, it was {change.base}", hint=LOOK_ANEW)


def _bring_about(github: GitHub, change: ProposedChange, found: Survey, reporter: Reporter) -> PullResult:
    pull, opened = found.pull, False
    if reopened := pull is not None and not pull.open:
        pull = _reopen(github, pull)
    with reporter.step(f"Writing the branch {change.branch}"):
        written = _write_branch(github, change, found)
    if pull is None:
        with reporter.step("Opening the pull request"):
            pull, opened = _open(github, change, written if found.current is None else None)
    if edits := change.edits(pull):
        with reporter.step("Updating the pull request"):
            pull = github.edit_pull(pull.number, edits)
    changed = written or reopened or edits
    outcome: Outcome = "opened" if opened else "updated" if changed else "as it should be already"
    return PullResult(pull=pull, outcome=outcome, written=written)


def _reopen(github: GitHub, pull: Pull) -> Pull | None:
    """Open a closed pull request again; None where GitHub no longer can, as after its branch was deleted."""
    try:
        return github.edit_pull(pull.number, {"state": "open"})
    except RejectedError:
        return None


def _open(github: GitHub, change: ProposedChange, made: str | None) -> tuple[Pull, bool]:
    """Open the pull request, or find the one that another run opened just now; whether this one did.

    Where GitHub opens none, the branch goes too if this run made it, as the commit `made`; but it stays where only a
    setting is in the way, for a person may open one from it.
    """
    try:
        pull = github.create_pull(
            branch=change.branch, base=change.base, title=change.title, body=f"{change.section}\n"
        )
    except (AccessError, RejectedError) as refusal:
        if there := next((pull for pull in _pulls(github, change) if pull.open), None):
            return there, False
        if PULLS_OF_ACTIONS in refusal.message:
            page = github.context.compare_url(change.base, change.branch)
            hint = (
                f"The branch is there. Open the pull request by hand: {page} Or run it again after this: {refusal.hint}"
            )
            raise AccessError(refusal.message, hint=hint) from refusal
        if made is not None and "already exists" not in refusal.message:
            _remove_branch(github, change, made)
        if isinstance(refusal, RejectedError) and (base := github.repository().default_branch) != change.base:
            raise _other_base(change, base) from refusal
        raise
    return pull, True


def _write_branch(github: GitHub, change: ProposedChange, found: Survey) -> str | None:
    """Make the branch one commit on top of the base, and return it; None where it was that already."""
    if _is_up_to_date(found.current, change):
        return None
    tree = github.write_tree(change.head, [(file.path, file.mode, text) for file, text in change.files.items()])
    commit = github.write_commit(change.head, tree, message(change, tree))
    current = github.branch(change.branch) if found.current is not None else None
    if current is None:
        try:
            github.create_branch(change.branch, commit.sha)
        except RejectedError:
            current = github.branch(change.branch)  # which came to be just now
            if current is None:
                raise
        else:
            return commit.sha
    _require_ours(github, change, current)
    if _is_up_to_date(current, change):
        return None
    # GitHub's REST API cannot move a branch on the condition of where it is; the look above was a moment ago.
    github.move_branch(change.branch, commit.sha)
    return commit.sha


def _take_back(github: GitHub, change: ProposedChange, found: Survey, result: PullResult) -> None:
    """Undo what a run did, but for what others did since."""
    before = found.pull
    if before is not None and before.number == result.pull.number:
        github.edit_pull(before.number, {"title": before.title, "body": before.body or "", "state": before.state})
    elif result.outcome == "opened":
        github.edit_pull(result.pull.number, {"state": "closed"})
    if result.written is not None and found.current is None:
        _remove_branch(github, change, result.written)
    elif result.written is not None and found.current is not None:
        head = github.branch(change.branch)
        if head is not None and head.sha == result.written:
            github.move_branch(change.branch, found.current.sha)


def _remove_branch(github: GitHub, change: ProposedChange, made: str) -> None:
    head = github.branch(change.branch)
    if head is not None and head.sha == made:
        github.delete_branch(change.branch)


def _is_up_to_date(current: Commit | None, change: ProposedChange) -> bool:
    """True for our untouched commit of these files on this very base."""
    if current is None or [parent.sha for parent in current.parents] != [change.head.sha]:
        return False
    found = _TRAILERS.search(current.message)
    return is_ours(current, change.tag) and found is not None and found["files"] == change.digest
