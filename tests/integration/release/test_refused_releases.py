"""What publish_release does not take: the exit code, what to do next, and nothing changed on GitHub."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.fetch.retry import LONGEST_RETRY_AFTER
from ci.host.errors import (
    AccessError,
    InputError,
    RefusedError,
    RemoteError,
    ToolsmithError,
    VerificationError,
)
from ci.host.process import held_port
from ci.records import artifacts
from ci.rehearsal.faults import Effect, Fault
from ci.release.state import section
from ci.text.markdown import Markdown
from tests.support.releasing import TAG
from tests.support.stage import FILES, OLDER, Run, Stage, published_bytes

pytestmark = pytest.mark.integration

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"


def assert_refused(run: Run, error: type[ToolsmithError], words: str, *, asked: bool = True) -> None:
    """It ended with the error's exit code, the words, and a hint; and nothing was written, or even `asked`."""
    assert run.code == error.exit_code, run.said
    assert words in run.said
    assert "next:" in run.said
    assert "Traceback" not in run.said
    assert run.writes == []
    assert bool(run.exchanges) == asked


# What is asked for


@pytest.mark.parametrize(
    "tag",
    [f"refs/tags/{TAG}", "", "v2026.11.23;id"],
)
def test_a_tag_that_is_no_version(stage: Stage, tag: str) -> None:
    stage.build()
    assert_refused(stage.publish("--tag", tag), InputError, "is not a version", asked=False)


def test_a_pushed_tag_that_is_no_version(stage: Stage) -> None:
    stage.build()
    pushed = stage.with_environ(GITHUB_REF_TYPE="tag", GITHUB_REF_NAME="v2026.13.01")
    assert_refused(pushed.publish(), InputError, "the calendar has no such day", asked=False)


def test_another_tag_than_the_build_is_of(stage: Stage) -> None:
    stage.build()
    run = stage.publish("--tag", OLDER)
    assert_refused(run, RefusedError, f"the tag is {OLDER}, the build in", asked=False)


def test_a_repository_that_is_none(stage: Stage) -> None:
    stage.build()
    run = stage.with_environ(GITHUB_REPOSITORY="https://github.com/a/b").publish()
    assert_refused(run, InputError, "is not a repository", asked=False)


def test_no_repository_in_no_clone_of_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stage.folder)
    stage.build()
    run = stage.with_environ(GITHUB_REPOSITORY="").publish()
    assert_refused(run, InputError, "no repository is named, and git tells no remote `origin` here", asked=False)


def test_a_commit_that_is_none(stage: Stage) -> None:
    stage.build()
    assert_refused(stage.with_environ(GITHUB_SHA="main").publish(), InputError, "not a commit", asked=False)


def test_a_run_for_another_commit(stage: Stage) -> None:
    stage.build()
    run = stage.with_environ(GITHUB_SHA="a" * 40).publish()
    assert_refused(run, RefusedError, "this run is for", asked=False)


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1:80", "localhost"],
)
def test_an_address_where_no_token_may_be_sent(stage: Stage, url: str) -> None:
    stage.build()
    run = stage.with_environ(GITHUB_API_URL=url).publish()
    assert_refused(run, InputError, "where no token may be sent", asked=False)


# What was built


def edit(path: Path, **changes: Any) -> None:  # noqa: ANN401 - JSON
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data | changes), encoding="utf-8")


# One for each kind of error; that each is seen is shown by the unit tests of ci/release/dist.py and proposal.py.
TAMPERED: dict[str, tuple[Callable[[Path], object], type[ToolsmithError], str]] = {
    "image cut off": (
        lambda dist: (dist / f"{STEM}.qcow2").write_bytes(b"QFI"),
        VerificationError, "is not the file that was built",
    ),
    "package list cut off": (
        lambda dist: (dist / f"{STEM}.packages.tsv").write_text("name\tversion"),
        InputError, "is not a list of packages",
    ),
    "picture missing": (lambda dist: (dist / f"{STEM}.console.png").unlink(), InputError, f"lacks {STEM}.console.png"),
    "record of another name": (
        lambda dist: (dist / f"{STEM}.build.json").rename(dist / "other.build.json"),
        InputError, "is not the record of",
    ),
    "version that is none": (
        lambda dist: edit(dist / f"{STEM}.build.json", version="v2026.02.30"), InputError, "is not a version"
    ),
    "test failed": (
        lambda dist: edit(dist / f"{STEM}.validation.json", passed=False), RefusedError, "has not passed its boot test"
    ),
    "commit not known": (
        lambda dist: edit(dist / f"{STEM}.build.json", commit="unknown"), RefusedError, "from an unknown commit"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERED)
def test_a_build_that_is_not_what_it_says(stage: Stage, what: str) -> None:
    tamper, error, words = TAMPERED[what]
    tamper(stage.build())
    assert_refused(stage.publish(), error, words, asked=False)


def test_no_dist_at_all(stage: Stage) -> None:
    assert_refused(stage.publish(), InputError, "there is no build in", asked=False)
    assert not (stage.folder / "dist").exists()


def test_two_versions_and_no_word_which(stage: Stage) -> None:
    stage.build()
    stage.build(OLDER)
    assert_refused(stage.publish(), InputError, f"has builds of {OLDER}, {TAG}", asked=False)


def test_two_images_and_neither_is_the_one_for_the_manifest(stage: Stage) -> None:
    stage.build()
    stage.build(distribution="debian-13", definition="trixie")
    assert_refused(stage.publish(), InputError, "there is no build of 'jammy' among bookworm, trixie", asked=False)


def test_images_of_two_commits(stage: Stage) -> None:
    stage.build()
    stage.build(distribution="debian-13", definition="trixie", commit="a" * 40)
    assert_refused(stage.publish(), RefusedError, "are of different commits", asked=False)


# Who asks


def test_no_token(stage: Stage) -> None:
    stage.build()
    run = stage.with_environ(GITHUB_TOKEN="").publish()
    assert_refused(run, AccessError, "there is no token in GITHUB_TOKEN", asked=False)


def test_a_private_repository_that_the_token_does_not_know(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(FILES, private=True)
    stage.build()
    run = stage.with_environ(GITHUB_TOKEN=stage.server.tokens.outsider.secret).publish()
    assert_refused(run, AccessError, "or the token may not see it")


def test_a_repository_that_is_not_there(stage: Stage) -> None:
    stage.build()
    run = stage.publish("--repository", f"{stage.server.owner}/not-there")
    assert_refused(run, AccessError, "there is no repository fountain-coach/not-there")


def test_an_archived_repository(stage: Stage) -> None:
    stage.build()
    stage.server.change(stage.repository, archived=True)
    assert_refused(stage.publish(), RefusedError, "is archived")


# What is there


def right_files(stage: Stage) -> dict[str, bytes]:
    """What a finished release holds, by another repository's example; only its record is of nobody."""
    return published_bytes(stage.folder / "dist") | {artifacts.RELEASE: b"{}"}


def test_a_commit_that_was_not_pushed(stage: Stage) -> None:
    stage.build(commit="a" * 40)
    before = stage.state()
    run = stage.publish()
    assert run.code == RefusedError.exit_code, run.said
    assert f"does not know the commit {'a' * 40}" in run.said
    assert stage.state() == before


def test_a_draft_that_somebody_else_made(stage: Stage) -> None:
    stage.build()
    stage.make_release(TAG, {}, draft=True, body="Mine")
    before = stage.state()
    assert_refused(stage.publish(), RefusedError, "that this command did not make")
    assert stage.state() == before


def test_two_drafts_of_which_a_person_edited_one(stage: Stage) -> None:
    stage.build()
    stage.make_draft()
    stage.api("PATCH", f"/releases/{stage.make_draft()['id']}", {"name": "Mine"})
    before = stage.state()
    assert_refused(stage.publish(), RefusedError, f"there are 2 drafts of {TAG}")
    assert stage.state() == before


def test_a_file_in_the_draft_that_is_not_ours(stage: Stage) -> None:
    stage.build()
    stage.make_draft({"notes.txt": b"somebody's"})
    before = stage.state()
    assert_refused(stage.publish(), RefusedError, "holds assets that are not ours: notes.txt")
    assert stage.state() == before


def published_differently(change: str) -> Callable[[dict[str, bytes]], object]:
    image = f"{STEM}.qcow2"
    changes: dict[str, Callable[[dict[str, bytes]], object]] = {
        "other bytes": lambda files: files.update({image: b"QFI\xfb the imagf"}),
        "missing asset": lambda files: files.pop(image),
        "further asset": lambda files: files.update({"notes.txt": b"somebody's"}),
        "no record": lambda files: files.pop(artifacts.RELEASE),
    }
    return changes[change]


@pytest.mark.parametrize("change", ["other bytes", "missing asset", "further asset", "no record"])
def test_a_published_release_with_other_assets(stage: Stage, change: str) -> None:
    stage.build()
    stage.server.set_immutable_releases(stage.repository, enabled=change == "further asset")
    files = right_files(stage)
    published_differently(change)(files)
    stage.make_release(TAG, files, body=section(stage.head(), Markdown("Notes")))
    before = stage.state()
    run = stage.publish()
    assert_refused(run, RefusedError, f"{TAG} is published already, with other assets")
    assert "next version" in run.said
    assert stage.state() == before


def test_a_newer_build_of_what_is_published(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    before = stage.state()
    stage.build(image=b"QFI\xfb another image")
    assert_refused(stage.publish(), RefusedError, "with other assets")
    assert stage.state() == before


def test_a_tag_that_an_immutable_release_used_up(stage: Stage) -> None:
    """GitHub tells it only when the draft is to become public: https://github.com/microsoft/hve-core/pull/554."""
    stage.build()
    stage.server.set_immutable_releases(stage.repository, enabled=True)
    release = stage.make_release(TAG, {"a": b"a"})
    stage.api("DELETE", f"/releases/{release['id']}")
    stage.api("DELETE", f"/git/refs/tags/{TAG}", ok=False)
    run = stage.publish()
    assert run.code == RefusedError.exit_code, run.said
    assert "immutable release" in run.said
    assert "next version" in run.said
    assert [release["draft"] for release in stage.releases()] == [True]


# How GitHub answers


def test_a_limit_that_lasts_longer_than_a_job_may_wait(stage: Stage) -> None:
    stage.build()
    stage.server.faults.arm(Fault(effect=Effect.TOO_MANY_REQUESTS, seconds=int(LONGEST_RETRY_AFTER) + 60))
    run = stage.publish()
    assert_refused(run, RemoteError, "GitHub's rate limit is reached, for another 9")
    assert run.slept == ()
    assert len(run.exchanges) == 1


def test_a_server_that_is_down(stage: Stage) -> None:
    stage.build()
    stage.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, times=100))
    run = stage.publish()
    assert_refused(run, RemoteError, "status 502")
    assert len(run.exchanges) == stage.patience.attempts


def test_a_server_that_is_not_there(stage: Stage) -> None:
    stage.build()
    with held_port() as port:
        run = stage.with_environ(GITHUB_API_URL=f"http://localhost:{port}").publish()
    assert_refused(run, RemoteError, "Connection refused", asked=False)
