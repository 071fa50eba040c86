"""The two commands in a process of their own, which is killed at a chosen request."""

import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

from ci import propose_rollout, publish_release
from ci.host import cli
from ci.records import artifacts
from ci.rehearsal.faults import Fault
from ci.release.publish import carry_out
from tests.support.releasing import TAG
from tests.support.stage import QUICK, Stage, as_app, environment, publishing

# A server that has imported everything once, and forks for each case: what is killed is a real process, but most of
# its start is spared. https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])

SECONDS = 60


def killed_at(fault: Fault, stage: Stage, *flags: str) -> None:
    """Release and roll out in another process, and kill it when it has come to the request of `fault`, a pause.

    `flags` are the roll-out's.
    """
    held = stage.server.faults.arm(fault)
    environs = environment(stage.environ), environment(as_app(stage).environ)
    process = _context.Process(target=_deploy, args=(*environs, stage.folder, flags))
    process.start()
    try:
        assert held.reached.wait(SECONDS), "it never came to that request"
    finally:
        process.kill()
        process.join(SECONDS)
    assert process.exitcode == -signal.SIGKILL
    process.close()
    stage.server.faults.clear()


def _deploy(job: Mapping[str, str], app: Mapping[str, str], folder: Path, flags: Sequence[str]) -> None:
    os.environ.clear()
    os.environ.update(job)
    with (folder / "killed.log").open("w", encoding="utf-8") as said:
        sys.stderr = said
        log = ["--log", os.fspath(folder / "log")]
        publish = functools.partial(publishing, patience=QUICK)
        roll_out = functools.partial(propose_rollout.main, patience=QUICK)
        with mock.patch("ci.publish_release.carry_out", wraps=carry_out) as carried:
            code = cli.run(publish, publish_release.arguments(), ["--dist", os.fspath(folder / "dist"), *log])
        if code != 0:
            return
        os.environ.update(app)
        proposal = carried.call_args.args[2]
        told = next(file.sha256 for file in proposal.files if file.name == artifacts.RELEASE)
        cli.run(roll_out, propose_rollout.arguments(), ["--tag", TAG, "--record-sha256", told, *flags, *log])
