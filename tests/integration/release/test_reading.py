"""Where earlier releases are read: at their public address, which costs no call of the API, or else through the API."""

from collections.abc import Callable

import pytest

from ci.host.errors import VerificationError
from ci.records import artifacts
from ci.rehearsal.exchanges import Exchange
from tests.support.releasing import TAG
from tests.support.stage import OLDER, Run, Stage, assert_proposed, assert_released, release_older

pytestmark = pytest.mark.integration


def asset_calls(run: Run) -> list[Exchange]:
    return [one for one in run.exchanges if one.method == "GET" and "/releases/assets/" in one.path]


def public_reads(run: Run) -> list[Exchange]:
    return [one for one in run.exchanges if "/releases/download/" in one.path]


def damage(stage: Stage, name: str, tag: str) -> None:
    """Let an asset have other bytes than GitHub says, as many as before."""
    (release,) = stage.releases(tag)
    path = stage.server.asset_bytes(next(asset["id"] for asset in release["assets"] if asset["name"] == name))
    path.write_bytes(b"x" * path.stat().st_size)


def test_what_is_public_is_read_without_the_api_and_without_the_token(stage: Stage) -> None:
    release_older(stage)
    stage.build()
    for run in (stage.publish(), stage.roll_out()):
        assert run.code == 0, run.said
        assert asset_calls(run) == []
        assert public_reads(run)
        assert [one.path for one in run.exchanges if one.authorized != one.path.startswith(("/repos/", "/api/"))] == []


def test_what_is_private_is_read_through_the_api(new_stage: Callable[..., Stage]) -> None:
    stage = new_stage(private=True)
    release_older(stage)
    dist = stage.build()
    publish, roll_out = stage.publish(), stage.roll_out()
    assert (publish.code, roll_out.code) == (0, 0), roll_out.said
    assert {one.status for one in public_reads(publish)} == {404}
    assert (len(asset_calls(publish)), len(asset_calls(roll_out))) == (2, 1)
    calls = [one for one in (*publish.exchanges, *roll_out.exchanges) if one.path.startswith(("/repos/", "/api/"))]
    assert len(calls) == 51  # docs/releasing.md
    assert_released(stage, dist)
    assert_proposed(stage)
    assert stage.record().previous is not None


def test_bytes_that_are_not_of_the_digest_are_taken_from_nowhere(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    damage(stage, artifacts.RELEASE, TAG)
    run = stage.roll_out()
    assert run.code == VerificationError.exit_code, run.said
    assert f"{artifacts.RELEASE} arrived altered" in run.said
    assert run.writes == []
    # Both were asked: a proxy may alter the one and not the other.
    assert (len(public_reads(run)), len(asset_calls(run))) == (1, 1)


def test_an_earlier_release_whose_record_is_damaged_is_no_obstacle_but_not_compared_with(stage: Stage) -> None:
    release_older(stage)
    damage(stage, artifacts.RELEASE, OLDER)
    stage.build()
    run = stage.publish()
    assert run.code == 0, run.said
    assert f"{OLDER} cannot be compared with" in run.said
    assert stage.record().previous is None
