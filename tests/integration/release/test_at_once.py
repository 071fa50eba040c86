"""Several roll-outs of one release at the same time: one pull request, no branch beside it, and nobody fails."""

import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ci.consume.bundle import NAME as ENSURE_VM_NAME
from ci.github.client import GitHub
from ci.github.failures import from_status
from ci.host.errors import AccessError, RefusedError, RejectedError, RemoteError, ToolsmithError, VerificationError
from ci.propose_rollout import ProposeRolloutRequest, propose_rollout
from ci.publish_release import PublishReleaseRequest, publish_release
from ci.records import artifacts
from ci.records.version import Version
from ci.rehearsal.faults import Effect, Fault, Moment
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG, write_ensure_vm
from tests.support.stage import QUICK, Stage, assert_proposed, assert_released, meanwhile, sha256

pytestmark = pytest.mark.integration

BRANCH = f"rollout/{TAG}"
RUNS, TIMES = 3, 10


def roll_out_at_once(stage: Stage) -> None:
    """Raises what any of the runs ends with."""
    start = threading.Barrier(RUNS)
    request = ProposeRolloutRequest(tag=Version.parse(TAG), record_sha256=stage.told[TAG])

    def run(_number: int) -> None:
        start.wait()
        propose_rollout(request, quiet_reporter(), environ=stage.environ, patience=QUICK)

    with ThreadPoolExecutor(RUNS) as runs:
        list(runs.map(run, range(RUNS)))


def release_at_once(stage: Stage, dists: Sequence[Path], record_sha256: str) -> list[ToolsmithError]:
    """Publish from each folder and roll out, all at the same moment; what they end with."""
    start = threading.Barrier(len(dists) + RUNS)
    tag = Version.parse(TAG)

    def run(dist: Path | None) -> ToolsmithError | None:
        environ, reporter = stage.environ, quiet_reporter()
        start.wait()
        try:
            if dist is None:
                wanted = ProposeRolloutRequest(tag=tag, record_sha256=record_sha256)
                propose_rollout(wanted, reporter, environ=environ, patience=QUICK)
            else:
                request = PublishReleaseRequest(dist=dist, record_sha256=record_sha256)
                publish_release(request, reporter, environ=environ, patience=QUICK, bundle=write_ensure_vm)
        except ToolsmithError as error:
            return error
        return None

    with ThreadPoolExecutor(len(dists) + RUNS) as runs:
        ended = runs.map(run, [*dists, *[None] * RUNS])
        return [error for error in ended if error is not None]


def test_two_publishers_and_three_roll_outs_at_once_ten_times(new_stage: Callable[..., Stage]) -> None:
    """One release, one pull request, no further draft or branch; whoever was too early is run again, as it says."""
    for _ in range(TIMES):
        stage = new_stage()
        dists = [stage.build(), stage.folder / "other"]
        shutil.copytree(dists[0], dists[1])
        assert stage.prepare().code == 0
        digest = sha256((dists[0] / artifacts.RELEASE).read_bytes())
        for name in (artifacts.RELEASE, ENSURE_VM_NAME):
            (dists[0] / name).unlink()
        failures = release_at_once(stage, dists, digest)
        assert {type(failure) for failure in failures} <= {RefusedError, RemoteError, VerificationError}, failures
        assert release_at_once(stage, dists, digest) == []
        assert_released(stage, dists[0])
        assert_proposed(stage)
        assert sorted(stage.branches()) == ["main", BRANCH]


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
        (403, "Resource not accessible by integration", AccessError),
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
    """It is the first of 41, on the last page of the list; the server's pages are shorter than asked for."""
    assert published.roll_out().code == 0
    head = published.head()
    for number in range(40):
        published.api("POST", "/git/refs", {"ref": f"refs/heads/to-{number}", "sha": head})
        published.api("POST", "/pulls", {"title": "Other", "head": BRANCH, "base": f"to-{number}"})
    before = published.state()
    monkeypatch.setattr(published.server.quirks, "longest_page", 7)
    run = published.roll_out()
    assert (run.code, run.writes) == (0, []), run.said
    assert len([one for one in run.exchanges if one.path.endswith("/pulls")]) == 6
    assert published.state() == before
