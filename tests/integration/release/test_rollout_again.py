"""A roll-out that is run again, after something happened to its branch, its pull request or the default branch."""

import json

import pytest

from ci.host.errors import RefusedError
from ci.rehearsal.faults import Effect, Fault, Moment
from tests.support.releasing import TAG
from tests.support.stage import CHANGELOG, FILES, MANIFEST, NEWER, Stage, assert_proposed, meanwhile

pytestmark = pytest.mark.integration

BRANCH = f"rollout/{TAG}"
PERSON = {"name": "A Person", "email": "person@example.org"}


@pytest.fixture
def proposed(stage: Stage) -> Stage:
    """A release with its pull request."""
    stage.build()
    assert stage.publish().code == 0
    assert stage.roll_out().code == 0
    return stage


def assert_refused(stage: Stage, *flags: str, words: str) -> None:
    """The roll-out ends with code 14, says why and what to do, and changes nothing."""
    before = stage.state()
    run = stage.roll_out(*flags)
    assert run.code == RefusedError.exit_code, run.said
    assert words in run.said
    assert "next:" in run.said
    assert run.writes == []
    assert stage.state() == before


# The default branch


def test_after_the_default_branch_moved_the_commit_is_made_anew_on_its_head(proposed: Stage) -> None:
    moved = FILES[CHANGELOG] + "\nA word that came later.\n"
    head = proposed.server.commit(proposed.repository, {CHANGELOG: moved, "new.txt": "New\n", "README.md": None})
    run = proposed.roll_out()
    assert run.code == 0, run.said
    pull = assert_proposed(proposed)
    assert (pull["number"], pull["commits"]) == (1, 1)
    assert proposed.head() == head
    assert "A word that came later." in (proposed.read(CHANGELOG, BRANCH) or "")
    assert proposed.roll_out().writes == []


def test_tools_that_somebody_added_to_the_manifest_meanwhile_stay(proposed: Stage) -> None:
    text = FILES[MANIFEST].replace('"tools": {}', '"tools": {"jq": "1.7"}')
    proposed.server.commit(proposed.repository, {MANIFEST: text})
    assert proposed.roll_out().code == 0
    assert_proposed(proposed)
    rolled_out = json.loads(proposed.read(MANIFEST, BRANCH) or "")
    assert rolled_out["tools"] == {"jq": "1.7"}
    assert rolled_out["image"]["version"] == TAG


def test_a_manifest_that_points_to_a_newer_release_is_not_turned_back(proposed: Stage) -> None:
    assert proposed.publish(dist=proposed.build(NEWER, folder=proposed.folder / "newer")).code == 0
    assert proposed.roll_out(tag=NEWER).code == 0
    proposed.server.merge_pull(proposed.repository, 2)
    assert_refused(proposed, words=f"points to {NEWER}, which is newer than {TAG}")


def test_a_manifest_that_names_this_release_with_another_digest_is_left_to_people(proposed: Stage) -> None:
    proposed.server.merge_pull(proposed.repository, 1)
    text = json.loads(proposed.read(MANIFEST) or "")
    text["image"]["qcow2_sha256"] = "0" * 64
    proposed.server.commit(proposed.repository, {MANIFEST: json.dumps(text)})
    assert_refused(proposed, words="with another URL or digest")


# The pull request


def test_a_persons_title_and_notes_stay_and_line_ends_of_a_browser_are_no_edit(proposed: Stage) -> None:
    ours = proposed.pulls()[0]["body"]
    theirs = f"Wait for the kernel.\r\n\r\n{ours}\r\n- [x] booted\r\n".replace("\n", "\r\n").replace("\r\r", "\r")
    for edit in ({"title": "Mine"}, {"body": theirs}, {"body": f"{ours}\nMore"}):
        proposed.api("PATCH", "/pulls/1", edit)
        before = proposed.state()
        run = proposed.roll_out()
        assert (run.code, run.writes) == (0, []), run.said
        assert proposed.state() == before
    proposed.server.commit(proposed.repository, {"new.txt": "New\n"})
    assert proposed.roll_out().code == 0
    after = assert_proposed(proposed)
    assert (after["title"], after["body"]) == ("Mine", f"{ours}\nMore")


def test_our_section_is_set_right_where_it_was_edited_or_removed(proposed: Stage) -> None:
    ours = proposed.pulls()[0]["body"].rstrip()
    begin, *_, end = ours.splitlines()
    for body, expected in {
        f"Before.\n{begin}\nWhat an earlier version wrote.\n{end}\nAfter.": f"Before.\n{ours}\nAfter.",
        "Only mine.": f"Only mine.\n\n{ours}\n",
        "": f"{ours}\n",
    }.items():
        proposed.api("PATCH", "/pulls/1", {"body": body})
        run = proposed.roll_out()
        assert run.code == 0, run.said
        assert len(run.writes) == 1
        assert assert_proposed(proposed)["body"] == expected


def test_what_a_person_closed_stays_closed_until_asked_otherwise(proposed: Stage) -> None:
    proposed.server.close_pull(proposed.repository, 1)
    assert_refused(proposed, words="was closed")
    run = proposed.roll_out("--reopen")
    assert run.code == 0, run.said
    assert assert_proposed(proposed)["number"] == 1
    assert proposed.roll_out().writes == []


def test_reopened_it_is_brought_up_to_date_as_well(proposed: Stage) -> None:
    proposed.server.close_pull(proposed.repository, 1)
    proposed.server.commit(proposed.repository, {"new.txt": "New\n"})
    run = proposed.roll_out("--reopen")
    assert run.code == 0, run.said
    assert assert_proposed(proposed)["number"] == 1


def test_where_github_cannot_open_it_again_there_is_a_new_one_but_only_by_a_persons_word(proposed: Stage) -> None:
    proposed.api("DELETE", f"/git/refs/heads/{BRANCH}")  # which closes it, and tells nobody's reason
    assert_refused(proposed, words="--reopen")
    run = proposed.roll_out("--reopen")
    assert run.code == 0, run.said
    assert assert_proposed(proposed, pulls=2)["number"] == 2
    assert proposed.roll_out().writes == []


def test_a_branch_that_was_moved_after_the_closing_leads_to_a_new_one(proposed: Stage) -> None:
    """GitHub opens a pull request again only where its branch still has what it was closed with."""
    proposed.server.close_pull(proposed.repository, 1)
    proposed.server.commit(proposed.repository, {"new.txt": "New\n"})
    rebase(proposed)
    run = proposed.roll_out("--reopen")
    assert run.code == 0, run.said
    assert assert_proposed(proposed, pulls=2)["number"] == 2


@pytest.mark.parametrize("keep_branch", [True, False], ids=["branch kept", "branch deleted"])
def test_what_was_merged_and_taken_back_stays_so_until_asked_otherwise(proposed: Stage, *, keep_branch: bool) -> None:
    merge_and_revert(proposed)
    assert_refused(proposed, words="was merged and taken back")
    if not keep_branch:
        proposed.api("DELETE", f"/git/refs/heads/{BRANCH}")
    run = proposed.roll_out("--reopen")
    assert run.code == 0, run.said
    assert assert_proposed(proposed, pulls=2)["number"] == 2
    assert proposed.roll_out().writes == []


def test_a_pull_request_to_another_branch_is_not_ours(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    stage.server.commit(stage.repository, {"a.txt": "A\n"}, branch="next")
    assert stage.roll_out().code == 0
    stage.api("PATCH", "/pulls/1", {"base": "next"})
    run = stage.roll_out()
    assert run.code == 0, run.said
    assert {pull["base"]["ref"] for pull in stage.pulls()} == {"next", "main"}


# The branch


def test_a_persons_commit_on_the_branch_is_never_overwritten(proposed: Stage) -> None:
    proposed.server.commit(proposed.repository, {"README.md": "Mine\n"}, branch=BRANCH, author=PERSON, message="Mine")
    assert_refused(proposed, words="has 1 commits that this command did not make")
    proposed.server.commit(proposed.repository, {"new.txt": "New\n"})
    assert_refused(proposed, words="has 1 commits that this command did not make")
    assert proposed.read("README.md", BRANCH) == "Mine\n"


def test_our_commit_amended_by_a_person_is_theirs_though_the_message_is_ours(proposed: Stage) -> None:
    amend(proposed, {MANIFEST: "{}\n"})
    assert_refused(proposed, words="did not make")
    proposed.server.close_pull(proposed.repository, 1)
    assert_refused(proposed, "--reopen", words="did not make")
    assert proposed.read(MANIFEST, BRANCH) == "{}\n"


def test_the_button_update_branch_leaves_a_merge_that_is_not_overwritten(proposed: Stage) -> None:
    head = proposed.server.commit(proposed.repository, {"new.txt": "New\n"})
    ours = proposed.api("GET", f"/git/commits/{proposed.head(BRANCH)}")
    tree = new_tree(proposed, ours["tree"]["sha"], {"new.txt": "New\n"})
    replace_commit(proposed, tree, "Merge branch 'main' into the roll-out", ours["sha"], head)
    assert_refused(proposed, words="did not make")


def test_a_branch_of_that_name_that_somebody_else_made_is_left_alone(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    stage.server.commit(stage.repository, {"README.md": "Mine\n"}, branch=BRANCH, author=PERSON)
    theirs = stage.head(BRANCH)
    run = stage.roll_out()
    assert run.code == RefusedError.exit_code, run.said
    assert "did not make" in run.said
    assert stage.head(BRANCH) == theirs
    assert stage.pulls() == []


def test_an_empty_branch_of_that_name_is_taken(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    stage.api("POST", "/git/refs", {"ref": f"refs/heads/{BRANCH}", "sha": stage.head()})
    run = stage.roll_out()
    assert run.code == 0, run.said
    assert_proposed(stage)


@pytest.mark.parametrize("moved", [False, True], ids=["default branch as it was", "default branch moved"])
def test_a_branch_without_its_pull_request_is_continued(stage: Stage, *, moved: bool) -> None:
    stage.build()
    assert stage.publish().code == 0
    stage.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, method="POST", path="/pulls$", times=6))
    assert stage.roll_out().code == 12
    ours = stage.head(BRANCH)
    if moved:
        stage.server.commit(stage.repository, {"new.txt": "New\n"})
    run = stage.roll_out()
    assert run.code == 0, run.said
    assert_proposed(stage)
    assert (stage.head(BRANCH) == ours) is not moved


def test_a_commit_that_arrives_while_we_look_is_not_lost(stage: Stage) -> None:
    """Between our look, which found no branch, and our creating it, a person creates one."""
    stage.build()
    assert stage.publish().code == 0
    held = stage.server.faults.arm(Fault(effect=Effect.PAUSE, moment=Moment.BEFORE, method="POST", path="/git/refs$"))

    def push() -> None:
        stage.server.commit(stage.repository, {"README.md": "Mine\n"}, branch=BRANCH, author=PERSON)

    with meanwhile(held, push):
        run = stage.roll_out()
    assert run.code == RefusedError.exit_code, run.said
    assert stage.read("README.md", BRANCH) == "Mine\n"
    assert stage.pulls() == []


def merge_and_revert(stage: Stage) -> None:
    before = {path: stage.read(path) for path in (MANIFEST, CHANGELOG)}
    stage.server.merge_pull(stage.repository, 1)
    added = {f"releases/{TAG}.md": None, f"releases/{TAG}.json": None}
    stage.server.commit(stage.repository, before | added, message="Revert the roll-out")


def amend(stage: Stage, files: dict[str, str]) -> None:
    """Replace our commit by one with other files, the same message and the same parent."""
    ours = stage.api("GET", f"/git/commits/{stage.head(BRANCH)}")
    tree = new_tree(stage, ours["tree"]["sha"], files)
    replace_commit(stage, tree, ours["message"], ours["parents"][0]["sha"])


def rebase(stage: Stage) -> None:
    """Put our commit on the default branch's head, as a run of ours does before it is cut off."""
    ours = stage.api("GET", f"/git/commits/{stage.head(BRANCH)}")
    paths = (MANIFEST, CHANGELOG, f"releases/{TAG}.md", f"releases/{TAG}.json")
    base = stage.api("GET", f"/git/commits/{stage.head()}")["tree"]["sha"]
    tree = new_tree(stage, base, {path: stage.read(path, BRANCH) or "" for path in paths})
    replace_commit(stage, tree, ours["message"].replace(ours["tree"]["sha"], tree), stage.head())


def new_tree(stage: Stage, base: str, files: dict[str, str]) -> str:
    entries = [{"path": path, "mode": "100644", "type": "blob", "content": text} for path, text in files.items()]
    sha: str = stage.api("POST", "/git/trees", {"base_tree": base, "tree": entries})["sha"]
    return sha


def replace_commit(stage: Stage, tree: str, message: str, *parents: str) -> None:
    body = {"message": message, "tree": tree, "parents": list(parents)}
    made = stage.api("POST", "/git/commits", body)
    stage.api("PATCH", f"/git/refs/heads/{BRANCH}", {"sha": made["sha"], "force": True})
