"""People who work on the same release at the same time: nothing wrong becomes public, and a re-run goes on."""

import pytest

from ci.host.errors import RefusedError, RejectedError, RemoteError, VerificationError
from ci.rehearsal.faults import Armed, Effect, Fault, Moment
from tests.support.releasing import TAG
from tests.support.stage import (
    Stage,
    assert_nothing_wrong_is_public,
    assert_proposed,
    assert_released,
    meanwhile,
    published_files,
)

pytestmark = pytest.mark.integration


def pause(stage: Stage, method: str, path: str, *, call: int = 1, moment: Moment = Moment.BEFORE) -> Armed:
    fault = Fault(effect=Effect.PAUSE, moment=moment, method=method, path=path, call=call)
    return stage.server.faults.arm(fault)


def test_a_draft_that_is_deleted_while_files_are_added(stage: Stage) -> None:
    dist = stage.build()
    with meanwhile(
        pause(stage, "POST", "^/api/uploads", call=3),
        lambda: stage.api("DELETE", f"/releases/{stage.releases()[0]['id']}"),
    ):
        run = stage.publish()
    assert run.code == RemoteError.exit_code, run.said
    assert "GitHub no longer has what it had" in run.said
    assert stage.publish().code == 0
    assert_released(stage, dist)


def test_an_asset_that_is_deleted_before_the_comparison(stage: Stage) -> None:
    dist = stage.build()
    image = next(name for name in published_files(dist) if name.endswith(".qcow2"))
    with meanwhile(pause(stage, "GET", "/releases/[0-9]+/assets$", call=2), lambda: stage.replace_asset(image, None)):
        run = stage.publish()
    assert run.code == VerificationError.exit_code, run.said
    assert image in run.said
    assert stage.releases()[0]["draft"] is True
    assert stage.publish().code == 0
    assert_released(stage, dist)


def test_a_file_that_somebody_adds_before_the_comparison(stage: Stage) -> None:
    dist = stage.build()
    with meanwhile(
        pause(stage, "GET", "/releases/[0-9]+/assets$", call=2),
        lambda: stage.upload(stage.releases()[0], "notes.txt", b"somebody's"),
    ):
        run = stage.publish()
    assert run.code == VerificationError.exit_code, run.said
    assert "notes.txt" in run.said
    assert stage.releases()[0]["draft"] is True
    assert_nothing_wrong_is_public(stage, dist)


def test_an_asset_that_somebody_replaces_before_the_comparison(stage: Stage) -> None:
    dist = stage.build()
    image = next(name for name in published_files(dist) if name.endswith(".qcow2"))
    other = b"x" * (dist / image).stat().st_size
    with meanwhile(pause(stage, "GET", "/releases/[0-9]+/assets$", call=2), lambda: stage.replace_asset(image, other)):
        run = stage.publish()
    assert run.code == VerificationError.exit_code, run.said
    assert stage.releases()[0]["draft"] is True
    assert stage.publish().code == 0
    assert_released(stage, dist)


def test_an_upload_of_the_same_name_that_another_run_made_first(stage: Stage) -> None:
    """As two runs at once would: the right file is taken as it is, a wrong one replaced."""
    dist = stage.build()
    checksum = next(name for name in published_files(dist) if name.endswith(".sha256"))
    right = (dist / checksum).read_bytes()
    with meanwhile(
        pause(stage, "POST", "^/api/uploads", call=2), lambda: stage.upload(stage.releases()[0], checksum, right)
    ):
        run = stage.publish()
    assert run.code == 0, run.said
    assert "an asset of this name is there already" in run.said
    assert not [write for write in run.writes if write.startswith("DELETE")]
    assert_released(stage, dist)


def test_a_file_that_changes_while_it_is_uploaded(stage: Stage) -> None:
    dist = stage.build()
    report = next(path for path in dist.iterdir() if path.name.endswith(".validation.md"))
    with meanwhile(
        pause(stage, "POST", "^/api/uploads", call=1), lambda: report.write_bytes(b"x" * report.stat().st_size)
    ):
        run = stage.publish()
    assert run.code == VerificationError.exit_code, run.said
    assert report.name in run.said
    assert stage.releases()[0]["draft"] is True


def test_another_runs_draft_that_comes_to_be_while_ours_is_made(stage: Stage) -> None:
    """Both runs go on with the first; the other draft is removed."""
    dist = stage.build()
    with meanwhile(pause(stage, "POST", "/releases$"), stage.make_draft):
        run = stage.publish()
    assert run.code == 0, run.said
    assert "removing a further draft of ours" in run.said
    assert_released(stage, dist)
    assert stage.publish().writes == []


def test_a_persons_draft_that_comes_to_be_while_ours_is_made(stage: Stage) -> None:
    stage.build()
    with meanwhile(
        pause(stage, "POST", "/releases$"), lambda: stage.make_release(TAG, {"a": b"a"}, draft=True, body="Mine")
    ):
        run = stage.publish()
    assert run.code == RefusedError.exit_code, run.said
    assert f"there are 2 drafts of {TAG}" in run.said
    assert [release["body"] for release in stage.releases() if release["assets"]] == ["Mine"]


def test_a_release_of_the_tag_that_somebody_publishes_first(stage: Stage) -> None:
    stage.build()
    with meanwhile(pause(stage, "PATCH", "/releases/"), lambda: stage.make_release(TAG, {"a": b"a"})):
        run = stage.publish()
    assert run.code == RefusedError.exit_code, run.said
    assert f"{TAG} is published already, with other assets" in run.said
    (public,) = [release for release in stage.releases() if not release["draft"]]
    assert {asset["name"] for asset in public["assets"]} == {"a"}


def test_a_branch_that_is_deleted_before_its_pull_request_is_opened(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    with meanwhile(pause(stage, "POST", "/pulls$"), lambda: stage.api("DELETE", f"/git/refs/heads/rollout/{TAG}")):
        run = stage.roll_out()
    assert run.code == RejectedError.exit_code, run.said
    assert stage.roll_out().code == 0
    assert_proposed(stage)


def test_a_default_branch_that_moves_while_the_commit_is_made(stage: Stage) -> None:
    """The commit is on the head that was read; the next run puts it on the new one."""
    stage.build()
    assert stage.publish().code == 0
    with meanwhile(
        pause(stage, "POST", "/git/trees$"), lambda: stage.server.commit(stage.repository, {"new.txt": "New\n"})
    ):
        run = stage.roll_out()
    assert run.code == 0, run.said
    assert stage.roll_out().code == 0
    assert_proposed(stage)


def test_another_run_that_opens_the_pull_request_first(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    opened = {"title": "Roll out", "body": "", "head": f"rollout/{TAG}", "base": "main"}
    with meanwhile(pause(stage, "POST", "/pulls$"), lambda: stage.api("POST", "/pulls", opened)):
        run = stage.roll_out()
    assert run.code == 0, run.said
    assert assert_proposed(stage)["title"] == "Roll out"
    assert stage.roll_out().writes == []
