"""A full release, resumed and rolled out, under each kind of token that may; a refusal under each that may not."""

from collections.abc import Callable, Mapping

import pytest

from ci.host.errors import AccessError
from ci.rehearsal.faults import Effect, Fault
from ci.rehearsal.tokens import READS, WRITES, Kind, Token
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.releasing import TAG
from tests.support.stage import FILES, Stage, assert_proposed, assert_released, meanwhile

pytestmark = pytest.mark.integration

MayChoose = Callable[[Stage], Token]

CAPABLE: Mapping[str, MayChoose] = {
    "classic": lambda stage: stage.server.tokens.admin,
    "fine-grained": lambda stage: stage.server.tokens.fine_grained,
    "GITHUB_TOKEN": lambda stage: stage.server.job_token(stage.repository, **WRITES),
    "app": lambda stage: stage.server.app_token(stage.repository, **WRITES),
}


def classic(stage: Stage, scopes: str) -> Token:
    owner = stage.server.owner
    return stage.server.add_token(Token(login=owner, kind=Kind.CLASSIC, owns=True, scopes=scopes))


def without_pull_requests(stage: Stage) -> Token:
    granted = {"contents": "write"}
    return stage.server.add_token(Token(login=stage.server.owner, kind=Kind.FINE_GRAINED, owns=True, granted=granted))


def of_another_repository(stage: Stage) -> Token:
    other = stage.server.create_repository(f"other-than-{stage.folder.name}", {"a": "b"})
    return stage.server.app_token(other, **WRITES)


REFUSED = "Resource not accessible by integration"
# What each is told, by what it may not.
CANNOT_RELEASE: Mapping[str, tuple[MayChoose, str]] = {
    "classic without a scope": (lambda stage: stage.server.tokens.scopeless, "its scopes are: gist"),
    "classic of an outsider": (lambda stage: stage.server.tokens.outsider, "an account that may write"),
    "fine-grained that reads": (
        lambda stage: stage.server.tokens.reader, "personal access token: it needs contents: write"
    ),
    "GITHUB_TOKEN that reads, as a fork's": (
        lambda stage: stage.server.job_token(stage.repository, **READS), f"{REFUSED}: it needs contents: write"
    ),
    "GITHUB_TOKEN without contents": (
        lambda stage: stage.server.job_token(stage.repository, pull_requests="write"), f"{REFUSED}: it needs contents:"
    ),
    "app that reads": (
        lambda stage: stage.server.app_token(stage.repository, **READS), f"{REFUSED}: it needs contents: write"
    ),
    "app of another repository": (of_another_repository, f"{REFUSED}: it needs contents: write"),
    "expired": (lambda stage: stage.server.tokens.expired, "GitHub does not accept the token"),
}  # fmt: skip
CANNOT_PROPOSE: Mapping[str, tuple[MayChoose, str]] = {
    **CANNOT_RELEASE,
    "GITHUB_TOKEN without pull-requests": (
        lambda stage: stage.server.job_token(stage.repository, contents="write", pull_requests="read"),
        f"{REFUSED}: it needs pull-requests: write",
    ),
    "app without pull-requests": (
        lambda stage: stage.server.app_token(stage.repository, contents="write", pull_requests="read"),
        f"{REFUSED}: it needs pull-requests: write",
    ),
    "app with contents alone": (
        lambda stage: stage.server.app_token(stage.repository, contents="write"),
        "a roll-out `contents: write` and `pull-requests: write`",
    ),
    "GITHUB_TOKEN with contents alone": (
        lambda stage: stage.server.job_token(stage.repository, contents="write"),
        "a roll-out `contents: write` and `pull-requests: write`",
    ),
    "fine-grained without pull requests": (
        without_pull_requests,
        "personal access token: it needs pull-requests: write",
    ),
}


def using(stage: Stage, token: Token) -> Stage:
    return stage.with_environ(GITHUB_TOKEN=token.secret)


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
@pytest.mark.parametrize("kind", CAPABLE)
def test_a_release_is_made_resumed_and_rolled_out_under_each_kind_of_token_that_may(
    new_stage: Callable[..., Stage], kind: str, *, private: bool
) -> None:
    stage = new_stage(private=private)
    stage = using(stage, CAPABLE[kind](stage))
    dist = stage.build()
    stage.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, method="PATCH", path="/releases/", times=100))
    assert stage.publish().code != 0
    stage.server.faults.clear()
    for run in (stage.publish(), stage.roll_out()):
        assert run.code == 0, run.said
    assert_released(stage, dist)
    assert_proposed(stage)
    assert [run.writes for run in (stage.publish(), stage.roll_out())] == [[], []]


@pytest.mark.parametrize("kind", CANNOT_RELEASE)
def test_a_token_that_may_not_release_is_told_what_is_missing_and_changes_nothing(stage: Stage, kind: str) -> None:
    choose, words = CANNOT_RELEASE[kind]
    stage.build()
    before = stage.state()
    run = using(stage, choose(stage)).publish()
    assert run.code == AccessError.exit_code, run.said
    assert words in run.said
    assert "next:" in run.said
    assert stage.state() == before


@pytest.mark.parametrize("kind", CANNOT_PROPOSE)
def test_a_token_that_may_not_propose_is_told_what_is_missing_and_changes_nothing(stage: Stage, kind: str) -> None:
    choose, words = CANNOT_PROPOSE[kind]
    stage.build()
    assert stage.publish().code == 0
    before = stage.state()
    run = using(stage, choose(stage)).roll_out()
    assert run.code == AccessError.exit_code, run.said
    assert words in run.said
    assert "next:" in run.said
    assert stage.state() == before


def test_where_only_the_setting_forbids_a_pull_request_a_person_opens_it_from_the_branch(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    stage.server.allow_pulls_of_actions(stage.repository, allow=False)
    branch = f"rollout/{TAG}"
    for _ in range(2):
        run = stage.roll_out()
        assert run.code == AccessError.exit_code, run.said
        assert "Allow GitHub Actions to create and approve pull requests" in run.said
        assert f"{stage.server.url}/{stage.repository}/compare/main...{branch}?expand=1" in run.said
        assert stage.pulls() == []
    by_hand = {"title": "By hand", "head": branch, "base": "main"}
    using(stage, stage.server.tokens.admin).api("POST", "/pulls", by_hand)
    assert stage.roll_out().code == 0
    assert [(pull["title"], TAG in pull["body"]) for pull in stage.pulls()] == [("By hand", True)]


def test_a_jobs_token_is_for_its_own_repository_alone(new_stage: Callable[..., Stage]) -> None:
    stage, consumer = new_stage(), new_stage({CONSUMER_MANIFEST: FILES["manifests/tools.json"]})
    stage.build()
    assert stage.publish().code == 0
    before = consumer.state()
    run = stage.with_consumer(consumer, stage.environ["GITHUB_TOKEN"]).roll_out()
    assert run.code == AccessError.exit_code, run.said
    assert consumer.state() == before
    assert_proposed(stage)


def test_a_dry_run_takes_no_right_to_write(stage: Stage) -> None:
    stage.build()
    readers = [stage.server.tokens.reader, stage.server.job_token(stage.repository, **READS)]
    assert [using(stage, token).publish("--dry-run").code for token in readers] == [0, 0]
    assert stage.publish().code == 0
    assert [using(stage, token).roll_out("--dry-run").code for token in readers] == [0, 0]


def test_a_token_that_expires_on_the_way_leaves_a_draft_that_the_next_one_completes(stage: Stage) -> None:
    dist = stage.build()
    token = stage.server.job_token(stage.repository, **WRITES)
    held = stage.server.faults.arm(Fault(effect=Effect.PAUSE, method="PATCH", path="/releases/"))
    with meanwhile(held, lambda: stage.server.expire(token)):
        run = using(stage, token).publish()
    assert run.code == AccessError.exit_code, run.said
    assert "an app's token lives for one hour" in run.said
    assert [release["draft"] for release in stage.releases(TAG)] == [True]
    assert stage.publish().code == 0
    assert_released(stage, dist)


def test_a_workflow_that_was_merged_since_the_build_takes_another_permission_where_there_is_no_tag(
    stage: Stage,
) -> None:
    dist = stage.build()
    stage.server.commit(stage.repository, {".github/workflows/tests.yml": "on: push\n"})
    before = stage.state()
    run = stage.publish()
    assert run.code == AccessError.exit_code, run.said
    assert "needs the permission `workflows`; a workflow's own token cannot have it" in run.said
    assert "Push the tag first" in run.said
    assert stage.state() == before
    app = using(stage, stage.server.app_token(stage.repository, workflows="write", **WRITES)).publish()
    assert app.code == 0, app.said
    assert_released(stage, dist)


def test_a_classic_token_without_the_scope_workflow_is_told_so_though_github_says_not_found(stage: Stage) -> None:
    """The draft is there, so that what is refused first is its publishing."""
    dist = stage.build()
    stage.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, method="PATCH", path="/releases/", times=100))
    assert stage.publish().code != 0
    stage.server.faults.clear()
    commit = stage.head()
    stage.server.commit(stage.repository, {".github/workflows/tests.yml": "on: push\n"})
    before = stage.state()
    run = using(stage, classic(stage, "repo")).publish()
    assert run.code == AccessError.exit_code, run.said
    assert "needs the permission `workflows`" in run.said
    assert f"git push origin {commit}:refs/tags/{TAG}" in run.said
    assert stage.state() == before
    assert using(stage, classic(stage, "repo, workflow")).publish().code == 0
    assert_released(stage, dist)


@pytest.mark.parametrize("kind", ["classic without a scope", "classic of an outsider"])
def test_a_classic_token_that_may_not_edit_the_pull_request_is_told_so(stage: Stage, kind: str) -> None:
    """What is refused first, with 404, is a change of what is there."""
    choose, words = CANNOT_PROPOSE[kind]
    stage.build()
    assert [stage.publish().code, stage.roll_out().code] == [0, 0]
    stage.api("PATCH", "/pulls/1", {"body": "Mine"})
    before = stage.state()
    run = using(stage, choose(stage)).roll_out()
    assert run.code == AccessError.exit_code, run.said
    assert words in run.said
    assert stage.state() == before
