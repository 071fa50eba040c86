"""Ctrl-C, and Actions cancelling a job: nothing is left behind, and the next run goes on."""

import os
import signal
import subprocess
import sys

import pytest

from ci.host.repository import ROOT
from ci.rehearsal.faults import Effect, Fault, Moment
from tests.support.releasing import TAG
from tests.support.stage import LOCKS, Stage, assert_proposed, assert_released, environment

pytestmark = pytest.mark.integration

SECONDS = 60
# The images are not of this checkout.
PUBLISH = ("ci.publish_release", "--allow-dirty", "--dist")


def interrupt(stage: Stage, fault: Fault, signum: signal.Signals, *argv: str) -> str:
    """Start a command, interrupt it at the request of `fault`, and return what it said."""
    held = stage.server.faults.arm(fault)
    command = [sys.executable, "-m", "tests.support.unpaced", *argv, "--log", os.fspath(stage.folder / "log")]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(stage.environ), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert held.reached.wait(SECONDS)
            process.send_signal(signum)
            _, said = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
            stage.server.faults.clear()
    assert process.returncode == 128 + signum, said
    assert "interrupted" in said
    assert "Traceback" not in said
    return said


def test_a_release(stage: Stage) -> None:
    dist = stage.build()
    fault = Fault(effect=Effect.PAUSE, moment=Moment.AFTER, method="POST", path="^/api/uploads", call=3)
    interrupt(stage, fault, signal.SIGINT, *PUBLISH, os.fspath(dist))
    assert {path.name for path in dist.iterdir() if path.name.startswith(".")} <= LOCKS
    assert [release["draft"] for release in stage.releases()] == [True]
    run = stage.publish()
    assert run.code == 0, run.said
    # What had arrived is not sent again.
    assert len([write for write in run.writes if "/uploads/" in write]) == len(stage.releases()[0]["assets"]) - 3
    assert_released(stage, dist)


def test_a_roll_out(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    fault = Fault(effect=Effect.PAUSE, moment=Moment.AFTER, method="POST", path="/git/refs$")
    interrupt(stage, fault, signal.SIGTERM, "ci.propose_rollout", "--tag", TAG, "--record-sha256", stage.told[TAG])
    run = stage.roll_out()
    assert run.code == 0, run.said
    assert_proposed(stage)
