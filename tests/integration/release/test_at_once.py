"""Several roll-outs of one release at the same time: one pull request, no branch beside it, and nobody fails."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ci.github import client
from ci.github.client import GitHub
from ci.github.failures import from_status
from ci.host.errors import AccessError, RefusedError, RejectedError, ToolsmithError
from ci.propose_rollout import ProposeRolloutRequest, propose_rollout
from ci.records.version import Version
from ci.rehearsal.faults import Effect, Fault, Moment
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG
from tests.support.stage import QUICK, Stage, assert_proposed, meanwhile

pytestmark = pytest.mark.integration

BRANCH = f"rollout/{TAG}"
RUNS, TIMES = 3, 10


@pytest.fixture
def published(stage: Stage) -> Stage:
    stage.build()
    assert stage.publish().code == 0
    return stage


def roll_out_at_once(stage: Stage) -> None:
    """Raises what any of the runs ends with."""
    start = threading.Barrier(RUNS)
    request = ProposeRolloutRequest(tag=Version.parse(TAG), record_sha256=stage.told[TAG])

    def run(_number: int) -> None:
        start.wait()
        propose_rollout(request, quiet_reporter(), environ=stage.environ, patience=QUICK)

    with ThreadPoolExecutor(RUNS) as runs:
        list(runs.map(run, range(RUNS)))


def test_three_at_once_ten_times_make_one_pull_request_each_time(new_stage: Callable[..., Stage]) -> None:
    for _ in range(TIMES):
        stage = new_stage()
        stage.build()
        assert stage.publish().code == 0
        roll_out_at_once(stage)
        assert_proposed(stage)
        assert stage.roll_out().writes == []


def test_three_at_once_after_the_default_branch_moved_keep_the_one(published: Stage) -> None:
    assert published.roll_out().code == 0
    for number in range(TIMES):
        published.server.commit(published.repository, {"README.md": f"{number}\n"})
        roll_out_at_once(published)
        assert_proposed(published)


# What ends before the pull request


@pytest.mark.parametrize(
    ("status", "message", "error"),
    [
        (403, "GitHub Actions is not permitted to create or approve pull requests.", AccessError),
        (422, "Validation Failed", RejectedError),
    ],
)
def test_where_github_opens_no_pull_request_no_branch_is_left(
    published: Stage, monkeypatch: pytest.MonkeyPatch, status: int, message: str, error: type[ToolsmithError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise from_status(status, {}, {"message": message}, "POST /pulls")

    before = published.state()
    with monkeypatch.context() as patched:
        patched.setattr(GitHub, "create_pull", refuse)
        run = published.roll_out()
    assert run.code == error.exit_code, run.said
    assert message in run.said
    assert published.state() == before
    assert published.roll_out().code == 0
    assert_proposed(published)


def test_a_branch_to_which_a_person_committed_meanwhile_is_left(
    published: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        published.server.commit(published.repository, {"README.md": "Mine\n"}, branch=BRANCH)
        raise from_status(403, {}, {"message": "no"}, "POST /pulls")

    monkeypatch.setattr(GitHub, "create_pull", refuse)
    assert published.roll_out().code == AccessError.exit_code
    assert published.read("README.md", BRANCH) == "Mine\n"


def test_a_commit_that_arrives_before_the_branch_is_moved_is_not_lost(published: Stage) -> None:
    assert published.roll_out().code == 0
    published.server.commit(published.repository, {"new.txt": "New\n"})
    held = published.server.faults.arm(
        Fault(effect=Effect.PAUSE, moment=Moment.BEFORE, method="POST", path="/git/commits$")
    )
    with meanwhile(held, lambda: published.server.commit(published.repository, {"README.md": "Mine\n"}, branch=BRANCH)):
        run = published.roll_out()
    assert run.code == RefusedError.exit_code, run.said
    assert published.read("README.md", BRANCH) == "Mine\n"


# Many pull requests


def test_the_pull_request_is_found_on_whatever_page_it_is(published: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert published.roll_out().code == 0
    for number in range(5):
        published.server.commit(published.repository, {"a.txt": "A\n"}, branch=f"to-{number}")
        body = {"title": "Other", "head": BRANCH, "base": f"to-{number}"}
        published.api("POST", "/pulls", body)
    before = published.state()
    monkeypatch.setattr(client, "PER_PAGE", 1)
    run = published.roll_out()
    assert (run.code, run.writes) == (0, []), run.said
    assert published.state() == before
