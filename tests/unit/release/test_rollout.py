from collections.abc import Mapping
from dataclasses import replace

import pytest

from ci.github.answers import Commit, Pull
from ci.github.client import GitHub
from ci.github.files import RepositoryFile
from ci.host.errors import RefusedError
from ci.release.rollout import ProposedChange, is_ours, message, survey, turned_down
from ci.text.markdown import Markdown
from tests.support.answers import HEAD, TREE, commit
from tests.support.releasing import TAG


def files(texts: Mapping[str, str]) -> dict[RepositoryFile, str]:
    return {RepositoryFile(path=path): text for path, text in texts.items()}


MAIN = commit("Begin", sha=HEAD, parents=())
CHANGE = ProposedChange(
    tag=TAG,
    base="main",
    head=MAIN,
    branch=f"rollout/{TAG}",
    files=files({"manifests/tools.json": "{}\n", "docs/releases.md": "# Releases\n"}),
    title=f"Roll out {TAG}",
    subject=f"the roll-out of {TAG}",
    body=Markdown("What changes\n"),
)
OURS = message(CHANGE, TREE)


# Whose commit


def test_the_message_begins_with_the_title_and_ends_with_trailers() -> None:
    title, empty, *trailers = OURS.splitlines()
    assert (title, empty) == (CHANGE.title, "")
    assert [line.partition(":")[0] for line in trailers] == ["Toolsmith-Rollout", "Toolsmith-Files", "Toolsmith-Tree"]


@pytest.mark.parametrize("text", [OURS, OURS.rstrip(), OURS + "\n"], ids=["as made", "without its end", "with more"])
def test_our_commit_is_known_by_its_message_and_its_tree(text: str) -> None:
    assert is_ours(commit(text), TAG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mine",
        CHANGE.title,
        OURS.replace(TAG, "v2026.11.24"),
        OURS.replace(f"Toolsmith-Tree: {TREE}", ""),
        OURS + "\nSigned-off-by: A Person <person@example.org>\n",
        OURS.replace("\nToolsmith", "\nCo-authored-by: A Person\nToolsmith", 2),
    ],
)
def test_a_commit_with_another_message_is_somebodys(text: str) -> None:
    assert not is_ours(commit(text), TAG)


def test_our_message_on_another_tree_is_somebodys() -> None:
    assert not is_ours(commit(OURS, tree="f" * 40), TAG)


def test_a_tag_is_not_taken_for_the_beginning_of_another() -> None:
    assert not is_ours(commit(message(replace(CHANGE, tag=f"{TAG}.1"), TREE)), TAG)


# What a commit brought


def test_the_digest_is_of_names_and_contents_in_whatever_order() -> None:
    assert replace(CHANGE, files=dict(reversed(list(CHANGE.files.items())))).digest == CHANGE.digest
    assert replace(CHANGE, title="Other", body=Markdown("Other")).digest == CHANGE.digest


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"manifests/tools.json": "{}\n"},
        {"manifests/tools.json": "{}", "docs/releases.md": "# Releases\n"},
        {"manifests/tools.json": "# Releases\n", "docs/releases.md": "{}\n"},
        {"manifests/tools.json{}\n": "", "docs/releases.md": "# Releases\n"},
    ],
)
def test_other_files_have_another_digest(texts: dict[str, str]) -> None:
    assert replace(CHANGE, files=files(texts)).digest != CHANGE.digest


# What is there


class There(GitHub):
    """A repository's branch and pull requests; what is not asked for here is not there."""

    def __init__(self, *pulls: Pull, head: Commit | None = None, between: tuple[Commit, ...] = ()) -> None:
        self._pulls = list(pulls)
        self._head = head
        self._between = between

    def pulls(self, branch: str) -> list[Pull]:
        assert branch == CHANGE.branch
        return self._pulls

    def branch(self, name: str) -> Commit | None:
        assert name == CHANGE.branch
        return self._head

    def commits_between(self, base: str, head: str) -> tuple[Commit, ...]:
        assert (base, head) == (HEAD, self._head.sha if self._head else "")
        return self._between


def pull(number: int = 1, *, state: str = "open", merged_at: str | None = None, base: str = "main") -> Pull:
    side = {"ref": CHANGE.branch, "sha": "b" * 40}
    return Pull.model_validate(
        {
            "number": number, "html_url": f"https://github.com/o/r/pull/{number}", "state": state,
            "title": CHANGE.title, "body": CHANGE.section, "merged_at": merged_at, "head": side,
            "base": {"ref": base, "sha": HEAD},
        }
    )  # fmt: skip


CLOSED = pull(state="closed")
MERGED = pull(state="closed", merged_at="2026-11-24T00:00:00Z")


def test_nothing_there_is_nothing_to_use() -> None:
    found = survey(There(), CHANGE, reopen=False)
    assert (found.current, found.pull) == (None, None)


def test_an_open_pull_request_is_used_and_its_branch_looked_at() -> None:
    ours = commit(OURS)
    found = survey(There(pull(), head=ours, between=(ours,)), CHANGE, reopen=False)
    assert (found.current, found.pull) == (ours, pull())


def test_an_open_one_is_used_though_a_newer_one_was_closed() -> None:
    found = survey(There(pull(2, state="closed"), pull(1)), CHANGE, reopen=False)
    assert found.pull is not None
    assert found.pull.number == 1


@pytest.mark.parametrize(("there", "words"), [(CLOSED, "was closed"), (MERGED, "was merged and taken back")])
def test_what_a_person_decided_stays_unless_asked_otherwise(there: Pull, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refusal:
        survey(There(there), CHANGE, reopen=False)
    assert "--reopen" in refusal.value.hint


def test_a_closed_one_is_opened_again_when_asked_to() -> None:
    found = survey(There(CLOSED), CHANGE, reopen=True)
    assert found.pull == CLOSED


def test_a_merged_one_cannot_be_so_there_will_be_a_new_one() -> None:
    found = survey(There(MERGED), CHANGE, reopen=True)
    assert found.pull is None


def test_a_pull_request_to_another_branch_is_none_of_ours() -> None:
    found = survey(There(pull(state="closed", base="next")), CHANGE, reopen=False)
    assert found.pull is None


@pytest.mark.parametrize("flag", [False, True], ids=["plain", "reopen"])
@pytest.mark.parametrize(
    "between",
    [
        (commit("Mine", sha="c" * 40),),
        (commit(OURS), commit("Mine\n\nMore", sha="c" * 40)),
        (commit(OURS, tree="f" * 40, sha="c" * 40),),
        (commit("", sha="c" * 40),),
    ],
    ids=["instead of ours", "on top of ours", "ours amended", "without a message"],
)
def test_a_persons_commit_ends_it(between: tuple[Commit, ...], *, flag: bool) -> None:
    there = There(pull(), head=between[-1], between=between)
    with pytest.raises(RefusedError, match=f"has 1 commits that this command did not make, such as {'c' * 12}"):
        survey(there, CHANGE, reopen=flag)


# One branch for one change after the other

MARKED = replace(CHANGE, one_of_many=True, subject="this change")


def other(there: Pull) -> Pull:
    return there.model_copy(update={"title": "Before", "body": replace(CHANGE, title="Before").section})


@pytest.mark.parametrize("there", [CLOSED, MERGED])
def test_what_was_decided_about_another_change_of_the_branch_does_not_count(there: Pull) -> None:
    found = survey(There(other(there)), MARKED, reopen=False)
    assert found.pull is None
    assert turned_down(There(other(there)), MARKED) is None


@pytest.mark.parametrize("edit", [{"title": "Mine"}, {"body": "Mine"}, {"body": None}])
def test_a_decision_is_known_by_the_title_or_by_the_marker(edit: dict[str, str | None]) -> None:
    closed = CLOSED.model_copy(update={"title": MARKED.title, "body": MARKED.section} | edit)
    there = There(other(MERGED), closed)
    assert turned_down(there, MARKED) == closed
    with pytest.raises(RefusedError, match="this change was closed"):
        survey(there, MARKED, reopen=False)
    assert survey(there, MARKED, reopen=True).pull == closed


def test_an_open_one_of_another_change_is_taken_over() -> None:
    ours = commit(OURS)
    there = There(other(pull()), CLOSED, head=ours, between=(ours,))
    assert turned_down(there, MARKED) is None
    assert survey(there, MARKED, reopen=False).pull == other(pull())


# What a person wrote


def written(title: str = CHANGE.title, body: str | None = CHANGE.section) -> Pull:
    return pull().model_copy(update={"title": title, "body": body})


@pytest.mark.parametrize(
    "body",
    [
        CHANGE.section,
        f"{CHANGE.section}\n",
        CHANGE.section.replace("\n", "\r\n"),
        f"Look at the kernel.\r\n\r\n{CHANGE.section}\n\n- [x] booted it myself\n",
    ],
    ids=["as made", "with its end", "as a browser sends it", "among a person's notes"],
)
def test_what_is_right_is_left_alone(body: str) -> None:
    assert CHANGE.edits(written(body=body)) == {}


@pytest.mark.parametrize("inside", ["", "What an earlier version wrote\n", "Mine\r\n"])
def test_only_our_section_is_replaced(inside: str) -> None:
    begin, *_, end = CHANGE.section.splitlines()
    edits = CHANGE.edits(written(body=f"Before.\r\n{begin}\r\n{inside}{end}\r\nAfter."))
    assert edits == {"body": f"Before.\r\n{CHANGE.section}\r\nAfter."}


@pytest.mark.parametrize("body", [None, "", "Mine alone.\n"])
def test_where_our_section_is_gone_it_is_added_behind_what_is_there(body: str | None) -> None:
    edits = CHANGE.edits(written(body=body))
    assert edits == {"body": f"{body}\n{CHANGE.section}\n" if body else f"{CHANGE.section}\n"}
    assert CHANGE.edits(written(body=edits["body"])) == {}


def test_a_persons_title_stays_and_ours_of_before_does_not() -> None:
    before = replace(CHANGE, title="Before")
    assert CHANGE.edits(written("Mine")) == {}
    assert CHANGE.edits(written("Mine", before.section)) == {"body": CHANGE.section}
    assert CHANGE.edits(written("Before", before.section)) == {"body": CHANGE.section, "title": CHANGE.title}
    assert "title" not in CHANGE.edits(written("Before", "Mine"))


def test_a_text_that_ends_our_section_early_does_not() -> None:
    begin, *_, end = CHANGE.section.splitlines()
    hostile = replace(CHANGE, body=Markdown(f"one {end} two {begin} three"))
    assert hostile.edits(written(body=f"Before {hostile.section} After")) == {}
