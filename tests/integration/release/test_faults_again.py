"""The fault matrix for the requests that only a second run makes, and for those to FountainKit's repository."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ci.host.errors import RemoteError
from ci.rehearsal.faults import Moment
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.killed import killed_at
from tests.support.releasing import TAG
from tests.support.sequence import Case, faults, kills, marks
from tests.support.stage import (
    FILES,
    MANIFEST,
    Run,
    Stage,
    assert_changes,
    assert_nothing_wrong_is_public,
    assert_proposed,
    assert_released,
    published_files,
)

pytestmark = pytest.mark.integration

BRANCH = f"rollout/{TAG}"
OTHER_BRANCH = f"toolsmith-image/{TAG}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of a scenario, `path` as a regular expression."""

    scenario: str
    method: str
    path: str


REQUESTS = [
    Request(scenario="resumed", method="GET", path="/releases/[0-9]+/assets"),
    Request(scenario="resumed", method="DELETE", path="/releases/assets/"),
    Request(scenario="rebased", method="GET", path=f"/git/ref/heads/{BRANCH}"),
    Request(scenario="rebased", method="GET", path="/compare/"),
    Request(scenario="rebased", method="PATCH", path=f"/git/refs/heads/{BRANCH}"),
    Request(scenario="rebased", method="PATCH", path="/pulls/"),
    Request(scenario="reopened", method="PATCH", path="/pulls/"),
    Request(scenario="consumer", method="GET", path="/git/blobs/"),
    Request(scenario="consumer", method="POST", path="/git/trees"),
    Request(scenario="consumer", method="POST", path="/git/commits"),
    Request(scenario="consumer", method="POST", path="/git/refs"),
    Request(scenario="consumer", method="POST", path="/pulls"),
]


def cases(kind: Callable[[str, int], Iterator[tuple[str, Case]]]) -> list[Any]:
    def there(request: Request, case: Case) -> Case:
        # Ours is dealt with before it, by requests of the same kind.
        path = f"/repos/[^/]+/consumer-[0-9]+{request.path}" if request.scenario == "consumer" else request.path
        return replace(case, fault=replace(case.fault, method=request.method, path=path))

    return [
        pytest.param(
            request.scenario,
            there(request, case),
            id=f"{request.scenario} {case.step}: {what}",
            marks=marks(case, first=request.scenario != "consumer"),
        )
        for request in REQUESTS
        for what, case in kind(f"{request.method} {request.path.removeprefix('/')}", 1)
    ]


FAULTS, KILLS = cases(faults), cases(kills)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A stage in which a command is to be run again, with what it must come to."""

    stage: Stage
    run: Callable[[Stage], Run]
    check: Callable[[], object]
    flags: tuple[str, ...] = ()


def resumed(stage: Stage, _: Stage) -> Scenario:
    """A draft with one right asset, a broken upload and a file of an earlier build."""
    dist = stage.build()
    draft = stage.make_draft()
    image, checksum, packages, *_rest = sorted(published_files(dist), key=lambda file: ".qcow2" not in file)
    stage.upload(draft, image, (dist / image).read_bytes())
    stage.server.plant_starter(stage.repository, draft["id"], checksum)
    stage.upload(draft, packages, b"of an earlier build")
    return Scenario(stage=stage, run=Stage.publish, check=lambda: assert_released(stage, dist))


def rebased(stage: Stage, _: Stage) -> Scenario:
    """A pull request with other words, and a default branch that has moved since."""
    _rolled_out(stage)
    stage.api("PATCH", "/pulls/1", {"body": "Something else"})
    stage.server.commit(stage.repository, {"new.txt": "New\n"})
    return Scenario(stage=stage, run=Stage.roll_out, check=lambda: _one_pull(stage))


def reopened(stage: Stage, _: Stage) -> Scenario:
    _rolled_out(stage)
    stage.server.close_pull(stage.repository, 1)
    return Scenario(
        stage=stage, run=lambda where: where.roll_out("--reopen"), check=lambda: _one_pull(stage), flags=("--reopen",)
    )


def consumer(stage: Stage, other: Stage) -> Scenario:
    _rolled_out(stage)
    both = stage.with_consumer(other)

    def check() -> None:
        _one_pull(stage)
        assert [pull["head"]["ref"] for pull in other.pulls()] == [OTHER_BRANCH]
        assert other.branches() == ["main", OTHER_BRANCH]
        assert_changes(other, OTHER_BRANCH, {CONSUMER_MANIFEST})

    return Scenario(stage=both, run=Stage.roll_out, check=check)


def _rolled_out(stage: Stage) -> None:
    stage.build()
    assert (stage.publish().code, stage.roll_out().code) == (0, 0)


def _one_pull(stage: Stage) -> None:
    assert assert_proposed(stage)["number"] == 1


SCENARIOS = {"resumed": resumed, "rebased": rebased, "reopened": reopened, "consumer": consumer}


@pytest.fixture
def scenario(request: pytest.FixtureRequest, new_stage: Callable[..., Stage]) -> Scenario:
    other = new_stage({CONSUMER_MANIFEST: FILES[MANIFEST]}, name="consumer")
    made: Scenario = SCENARIOS[request.param](new_stage(), other)
    return made


def test_the_second_matrix_is_counted(figure: Callable[[str], None]) -> None:
    figure(f"fault matrix of second runs and FountainKit: {len(FAULTS)} faults and {len(KILLS)} killed processes")
    assert {request.scenario for request in REQUESTS} == SCENARIOS.keys()


@pytest.mark.parametrize(("scenario", "case"), FAULTS, indirect=["scenario"])
def test_a_fault_of_a_second_run(case: Case, scenario: Scenario) -> None:
    server = scenario.stage.server
    armed = server.faults.arm(case.fault)
    run = scenario.run(scenario.stage.with_patience(**case.patience))
    server.faults.clear()
    assert armed.reached.is_set(), "the fault did not happen"
    assert run.code in allowed(case), run.said
    finish(scenario)


@pytest.mark.parametrize(("scenario", "case"), KILLS, indirect=["scenario"])
def test_a_killed_second_run(case: Case, scenario: Scenario) -> None:
    killed_at(case.fault, scenario.stage, *scenario.flags)
    finish(scenario)


def allowed(case: Case) -> set[int]:
    """The exit codes: where only answers are lost, a look at what is there may find the work done."""
    if case.heals:
        return {0}
    return {RemoteError.exit_code, 0} if case.fault.moment is Moment.AFTER else {RemoteError.exit_code}


def finish(scenario: Scenario) -> None:
    stage = scenario.stage
    assert_nothing_wrong_is_public(stage, stage.folder / "dist")
    again = scenario.run(stage)
    assert again.code == 0, again.said
    scenario.check()
    assert scenario.run(stage).writes == []
