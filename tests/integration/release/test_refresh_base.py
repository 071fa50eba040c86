"""A newer base, from a signed stream on a real server to one pull request on the local GitHub."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ci import refresh_base
from ci.host.errors import AccessError, InputError, RefusedError, VerificationError
from ci.rehearsal.faults import Effect, Fault
from tests.support.fault_server import FaultServer
from tests.support.mirror import FILE, NEW, NEWEST, OLD, PRODUCT, Mirror, digest
from tests.support.signing import Signer
from tests.support.stage import FILES, Run, Stage, assert_changes

pytestmark = pytest.mark.integration

IMAGE = "jammy"
PATH, BRANCH = f"build/images/{IMAGE}.toml", f"refresh-base/{IMAGE}"
PERSON = {"name": "A Person", "email": "person@example.org"}


def refresh(stage: Stage, *flags: str) -> Run:
    """For the image that follows the mirror; the checkout has others, which follow the publisher."""
    chosen = () if "--image" in flags else ("--image", IMAGE)
    return stage.run(refresh_base.main, refresh_base.arguments(), (*chosen, *flags))


@dataclass(frozen=True, kw_only=True)
class Following:
    """A repository whose definition follows a mirror."""

    stage: Stage
    mirror: Mirror

    def refresh(self, *flags: str) -> Run:
        return refresh(self.stage, *flags)

    def done(self, *flags: str) -> Run:
        run = self.refresh(*flags)
        assert run.code == 0, run.said
        return run

    def pin(self, serial: str) -> None:
        """A person pins a serial on the default branch."""
        self.stage.server.commit(self.stage.repository, {PATH: self.mirror.definition(serial)})

    def definition(self, branch: str = BRANCH) -> str:
        return self.stage.read(PATH, branch) or ""


@pytest.fixture
def following(publisher: Signer, new_stage: Callable[..., Stage]) -> Iterator[Following]:
    with FaultServer() as server:
        mirror = Mirror(server, publisher)
        mirror.publish(OLD, NEW)
        yield Following(stage=new_stage({**FILES, PATH: mirror.definition()}, name="base"), mirror=mirror)


def assert_proposed(following: Following, serial: str, *, pulls: int = 1) -> Any:  # noqa: ANN401 - JSON
    """One branch and one open pull request, which change two values of the definition and nothing else."""
    stage, mirror = following.stage, following.mirror
    assert [name for name in stage.branches() if name != "main"] == [BRANCH]
    assert len(stage.pulls()) == pulls
    (pull,) = [pull for pull in stage.pulls() if pull["state"] == "open"]
    assert (pull["head"]["ref"], pull["base"]["ref"], pull["commits"]) == (BRANCH, "main", 1)
    assert_changes(stage, BRANCH, {PATH})
    before = following.definition("main")
    expected = before.replace(mirror.image_url(OLD), mirror.image_url(serial)).replace(digest(OLD), digest(serial))
    assert following.definition() == expected.replace(f"'{digest(serial)}'", f'"{digest(serial)}"')
    assert pull["title"] == f"Refresh the base of jammy to {serial}"
    for text in (f"`{OLD}`", f"`{serial}`", digest(OLD), digest(serial), mirror.signer.fingerprint):
        assert text in pull["body"]
    assert f"({mirror.image_url(serial).rpartition('/')[0]}/)" in pull["body"]
    return pull


def assert_nothing_changes(following: Following, *flags: str, words: str, code: int = 0) -> Run:
    before = following.stage.state()
    run = following.refresh(*flags)
    assert run.code == code, run.said
    assert words in run.said
    assert run.writes == []
    assert following.stage.state() == before
    return run


# To a pull request


def test_a_newer_serial_becomes_one_pull_request_once(following: Following) -> None:
    run = following.done()
    assert "jammy: pull request opened" in run.said
    assert_proposed(following, NEW)
    again = assert_nothing_changes(following, words="as it should be already")
    assert "pull request" in again.said


def test_a_newer_serial_still_takes_over_the_same_pull_request(following: Following) -> None:
    following.done()
    following.mirror.publish(OLD, NEW, NEWEST)
    run = following.done()
    assert "jammy: pull request updated" in run.said
    assert assert_proposed(following, NEWEST)["number"] == 1


def test_after_the_default_branch_moved_the_commit_is_made_anew(following: Following) -> None:
    following.done()
    following.stage.server.commit(following.stage.repository, {"README.md": "New\n"})
    following.done()
    assert_proposed(following, NEW)


def test_after_a_merge_there_is_nothing_to_do_until_the_next_serial(following: Following) -> None:
    following.done()
    following.stage.server.merge_pull(following.stage.repository, 1)
    assert_nothing_changes(following, words=f"{NEW} is the newest serial of {PRODUCT}")
    following.mirror.publish(OLD, NEW, NEWEST)
    following.done()
    (pull,) = [pull for pull in following.stage.pulls() if pull["state"] == "open"]
    assert (pull["number"], pull["title"]) == (2, f"Refresh the base of jammy to {NEWEST}")
    assert digest(NEWEST) in following.definition()


def test_after_a_squashed_merge_the_branch_that_stayed_is_used_again(following: Following) -> None:
    following.done()
    following.stage.server.close_pull(following.stage.repository, 1)
    following.pin(NEW)
    following.mirror.publish(OLD, NEW, NEWEST)
    following.done()
    assert digest(NEWEST) in following.definition()
    assert len(following.stage.pulls()) == 2


def test_a_pinned_serial_that_vanished_is_told_in_the_pull_request(following: Following) -> None:
    following.mirror.publish(NEW)
    following.done()
    assert f"The stream no longer has `{OLD}`" in assert_proposed(following, NEW)["body"]


def test_a_run_that_was_cut_off_before_the_pull_request_is_continued(following: Following) -> None:
    following.stage.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, method="POST", path="/pulls$", times=6))
    assert following.refresh().code == 12
    following.done()
    assert_proposed(following, NEW)


def test_a_persons_title_and_notes_outlive_the_next_serial(following: Following) -> None:
    following.done()
    ours = following.stage.pulls()[0]["body"]
    following.stage.api("PATCH", "/pulls/1", {"title": "Mine", "body": f"Wait.\r\n\r\n{ours}"})
    assert_nothing_changes(following, words="as it should be already")
    following.mirror.publish(OLD, NEW, NEWEST)
    following.done()
    (pull,) = following.stage.pulls()
    assert (pull["title"], pull["body"].partition("<!--")[0]) == ("Mine", "Wait.\r\n\r\n")
    assert digest(NEWEST) in pull["body"]


# Nothing to do, and why


def test_a_dry_run_shows_the_difference_and_asks_github_nothing(
    following: Following, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_text(following.mirror.definition())
    monkeypatch.setattr(refresh_base, "ROOT", tmp_path)
    run = refresh(following.stage.with_environ(GITHUB_TOKEN=""), "--dry-run")
    assert (run.code, run.exchanges) == (0, ())
    for sign, serial in (("-", OLD), ("+", NEW)):
        assert f'{sign}url    = "{following.mirror.image_url(serial)}" # dated' in run.said.splitlines()
    assert (tmp_path / PATH).read_text() == following.mirror.definition()


def test_a_day_that_is_published_by_half_is_waited_for(following: Following) -> None:
    following.mirror.withdraw(NEW, FILE)
    assert_nothing_changes(following, words=f"{NEW} is announced and not published to the end")
    following.mirror.publish_image(NEW)
    following.done()
    assert_proposed(following, NEW)


def test_a_serial_that_was_taken_back_leaves_its_pull_request_to_people_and_says_so(following: Following) -> None:
    following.done()
    following.mirror.publish(OLD)
    run = assert_nothing_changes(following, words=f"{OLD} is the newest serial")
    assert "/pull/1 is open all the same" in run.said


def test_what_a_person_closed_stays_closed_until_the_next_serial(following: Following) -> None:
    following.done()
    following.stage.server.close_pull(following.stage.repository, 1)
    assert_nothing_changes(following, words=f"the refresh of the base of jammy to {NEW} was closed")
    following.mirror.publish(OLD, NEW, NEWEST)
    following.done()
    assert assert_proposed(following, NEWEST, pulls=2)["number"] == 2


def test_what_a_person_closed_and_rewrote_stays_closed(following: Following) -> None:
    following.done()
    following.stage.api("PATCH", "/pulls/1", {"title": "Not this one", "state": "closed"})
    assert_nothing_changes(following, words="was closed")


def test_what_a_person_closed_is_proposed_again_when_asked_to(following: Following) -> None:
    following.done()
    following.stage.server.close_pull(following.stage.repository, 1)
    following.done("--reopen")
    assert assert_proposed(following, NEW)["number"] == 1


def test_what_was_merged_and_taken_back_stays_so(following: Following) -> None:
    following.done()
    following.stage.server.merge_pull(following.stage.repository, 1)
    following.pin(OLD)
    assert_nothing_changes(following, words="was merged and taken back")


# What is refused


def test_a_persons_commit_on_the_branch_is_never_overwritten(following: Following) -> None:
    following.done()
    stage = following.stage
    stage.server.commit(stage.repository, {"README.md": "Mine\n"}, branch=BRANCH, author=PERSON, message="Mine")
    following.mirror.publish(OLD, NEW, NEWEST)
    assert_nothing_changes(following, words="has 1 commits that this command did not make", code=RefusedError.exit_code)


def test_a_branch_of_that_name_that_somebody_else_made_is_left_alone(following: Following) -> None:
    stage = following.stage
    stage.server.commit(stage.repository, {"README.md": "Mine\n"}, branch=BRANCH, author=PERSON)
    theirs = stage.head(BRANCH)
    assert following.refresh().code == RefusedError.exit_code
    assert stage.head(BRANCH) == theirs
    assert stage.pulls() == []


def test_a_stream_that_is_not_believed_changes_nothing(following: Following) -> None:
    following.mirror.publish_checksums(NEW, "2" * 64)
    assert_nothing_changes(following, words="both are signed", code=VerificationError.exit_code)


def test_a_definition_whose_values_cannot_be_changed_alone(following: Following) -> None:
    text = following.mirror.definition()
    head, _, rest = text.partition("[base]\n")
    url, sha256, *others = rest.splitlines(keepends=True)
    dotted = f"base.{url}base.{sha256}{head}" + "".join(f"base.{line}" for line in others[:2])
    streams = "".join(others[2:]).replace("[base.streams]\n", "").split("\n[os]")[0].strip()
    dotted += "".join(f"base.streams.{line}\n" for line in streams.splitlines()) + "\n[os]" + rest.partition("[os]")[2]
    following.stage.server.commit(following.stage.repository, {PATH: dotted})
    assert_nothing_changes(following, words="cannot be changed alone", code=InputError.exit_code)


def test_a_base_that_is_not_pinned_by_a_dated_url(following: Following) -> None:
    text = following.mirror.definition().replace(f"release-{OLD}/", "release/")
    following.stage.server.commit(following.stage.repository, {PATH: text})
    assert_nothing_changes(following, words="does not say which serial it is of", code=InputError.exit_code)


def test_a_token_that_may_not_write_changes_nothing(following: Following) -> None:
    before = following.stage.state()
    run = refresh(following.stage.with_environ(GITHUB_TOKEN=following.stage.server.tokens.reader.secret))
    assert run.code == AccessError.exit_code, run.said
    assert "it needs contents: write" in run.said
    assert following.stage.state() == before


def test_an_image_that_follows_no_stream(following: Following) -> None:
    run = following.refresh("--image", "bookworm")
    assert (run.code, run.exchanges) == (InputError.exit_code, ())
    assert "does not follow a stream" in run.said


def test_the_default_branchs_definition_counts_not_the_checkouts(following: Following) -> None:
    text = following.mirror.definition().replace("[base.streams]", "[base.stream]")
    following.stage.server.commit(following.stage.repository, {PATH: text})
    assert_nothing_changes(following, words="is not a valid image definition", code=InputError.exit_code)


def test_on_the_runs_page_is_what_became_of_it(following: Following, tmp_path: Path) -> None:
    summary, output = tmp_path / "summary", tmp_path / "output"
    stage = following.stage.with_environ(
        GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary), GITHUB_OUTPUT=str(output)
    )
    assert refresh(stage).code == 0
    assert f"/pull/1): `{NEW}` instead of `{OLD}`." in summary.read_text()
    assert "/pull/1\n" in output.read_text()
    following.pin(NEW)
    assert refresh(stage).code == 0
    assert f"Nothing to do: `{NEW} is the newest serial of {PRODUCT}`." in summary.read_text()
