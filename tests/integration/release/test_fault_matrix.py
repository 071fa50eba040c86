"""Whatever happens to whichever request: plain re-runs end in one right release and one right pull request.

And at no moment is anything public that is not whole. All requests: pytest --full. One case: pytest --full -k "08 and
outage".
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import pytest

from ci.fetch import limits
from ci.host.errors import RemoteError
from ci.records import artifacts
from ci.rehearsal import faults as rehearsal_faults
from ci.rehearsal.exchanges import Exchange
from tests.support import sequence
from tests.support.killed import killed_at
from tests.support.sequence import LIMIT_SECONDS, Case, faults, kills, rows
from tests.support.stage import (
    OLDER,
    Run,
    Stage,
    as_app,
    assert_nothing_wrong_is_public,
    assert_proposed,
    assert_released,
    release_older,
)

pytestmark = pytest.mark.integration

# More than the server and the client take at once, so that an upload has a middle.
IMAGE = b"QFI\xfb" + bytes(range(256)) * 4096
RERUNS = 3

FAULTS = rows(sequence.WHOLE, faults)
KILLS = rows(sequence.WHOLE, kills)


@pytest.fixture(autouse=True)
def _clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the server, which says in whole seconds when a limit ends, and for the client, which waits until then."""
    clock = SimpleNamespace(time=lambda: 1_000_000_000.99)
    monkeypatch.setattr(rehearsal_faults, "time", clock)
    monkeypatch.setattr(limits, "time", clock)


HERE = b"OWNER/NAME"


@pytest.fixture(scope="module")
def earlier_files(make_stage: Callable[..., Stage]) -> Mapping[str, bytes]:
    """What is read of an earlier release; made once, because each case has one. `HERE` stands for its repository."""
    stage = make_stage()
    release_older(stage)
    names = [asset["name"] for asset in stage.releases(OLDER)[0]["assets"]]
    files = {
        name: stage.asset(name, OLDER) for name in names if name == artifacts.RELEASE or name.endswith(".packages.tsv")
    }
    return {name: data.replace(stage.repository.encode(), HERE) for name, data in files.items()}


@pytest.fixture
def ready(stage: Stage, earlier_files: Mapping[str, bytes]) -> Stage:
    """Something to release, on top of an earlier release."""
    own = stage.repository.encode()
    stage.make_release(OLDER, {name: data.replace(HERE, own) for name, data in earlier_files.items()})
    stage.build(image=IMAGE)
    return stage


def deploy(stage: Stage) -> list[Run]:
    """Release with the job's token and roll out with an app's, the second only after the first, as a workflow does."""
    runs = [stage.publish()]
    if runs[0].code == 0:
        runs.append(as_app(stage).roll_out())
    return runs


def done(runs: list[Run]) -> bool:
    return [run.code for run in runs] == [0, 0]


def run_until_done(stage: Stage) -> None:
    said = ""
    for _ in range(RERUNS):
        runs = deploy(stage)
        assert_nothing_wrong_is_public(stage, stage.folder / "dist")
        if done(runs):
            return
        said = runs[-1].said
    pytest.fail(f"{RERUNS} re-runs were not enough: {said}")


def assert_all_is_well(stage: Stage, since: int) -> None:
    assert_released(stage, stage.folder / "dist")
    assert_proposed(stage)
    assert_public_last(stage.server.exchanges[since:])
    assert [run.writes for run in deploy(stage)] == [[], []]


def assert_public_last(exchanges: list[Exchange]) -> None:
    """No asset was added or removed after the release became public, whoever won the race in between."""
    names = [
        "PUBLIC"
        if isinstance(body := exchange.request_body, dict) and body.get("draft") is False
        else sequence.name(exchange)
        for exchange in exchanges
    ]
    after = names[names.index("PUBLIC") :] if "PUBLIC" in names else []
    assert not [name for name in after if name.startswith(("UPLOAD", "DELETE"))]


def test_the_matrix_has_a_row_for_every_request(ready: Stage, figure: Callable[[str], None]) -> None:
    publish, roll_out = deploy(ready)
    assert [sequence.name(exchange) for exchange in publish.exchanges] == list(sequence.PUBLISH)
    assert [sequence.name(exchange) for exchange in roll_out.exchanges] == list(sequence.ROLL_OUT)
    assert set(sequence.KINDS) - set(sequence.WHOLE) == {"DELETE releases/assets/"}
    figure(f"fault matrix: {len(FAULTS)} faults and {len(KILLS)} killed processes at {len(sequence.WHOLE)} requests")


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault(case: Case, ready: Stage) -> None:
    since = len(ready.server.exchanges)
    armed = ready.server.faults.arm(case.fault)
    runs = deploy(ready.with_patience(**case.patience))
    ready.server.faults.clear()
    assert armed.reached.is_set(), "the fault did not happen"
    assert_nothing_wrong_is_public(ready, ready.folder / "dist")
    if case.heals:
        assert done(runs), runs[-1].said
    else:
        assert runs[-1].code == RemoteError.exit_code, runs[-1].said
        assert "Run it again" in runs[-1].said
        run_until_done(ready)
    if case.limit:
        assert LIMIT_SECONDS <= max(second for run in runs for second in run.slept) <= LIMIT_SECONDS + 1
    assert_all_is_well(ready, since)


@pytest.mark.parametrize("case", KILLS)
def test_a_killed_process(case: Case, ready: Stage) -> None:
    since = len(ready.server.exchanges)
    killed_at(case.fault, ready)
    assert_nothing_wrong_is_public(ready, ready.folder / "dist")
    run_until_done(ready)
    assert_all_is_well(ready, since)
