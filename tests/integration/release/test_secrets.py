"""Tokens: wherever these commands write, and whatever goes wrong, no token is to be found."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci.host.repository import ROOT
from ci.records import artifacts
from ci.rehearsal.faults import Effect, Fault
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.releasing import TAG
from tests.support.stage import FILES, MANIFEST, Stage, environment, sha256

pytestmark = pytest.mark.integration

SECONDS = 60
UNPACED = ("-m", "tests.support.unpaced")
# A bug, in words that hold the token, raised from an error that holds it too.
BUG = """
import os, sys
from ci import publish_release
from ci.host import cli
from ci.github.client import GitHub

def repository(self):
    try:
        raise KeyError(f"Bearer {self.context.token}")
    except KeyError as error:
        raise ValueError(f"a bug with {self.context.token} in {self.context!r}") from error

GitHub.repository = repository
sys.exit(cli.run(publish_release.main, publish_release.arguments()))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A process that came to its end."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A folder that takes everything the commands write, and the tokens that must not be in it."""

    stage: Stage
    tokens: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return self.stage.folder

    def environ(self) -> dict[str, str]:
        changes = {
            "TMPDIR": os.fspath(self.folder / "tmp"),
            "TOOLSMITH_LOGS": os.fspath(self.folder / "logs"),
            "GITHUB_OUTPUT": os.fspath(self.folder / "output"),
            "GITHUB_STEP_SUMMARY": os.fspath(self.folder / "summary"),
        }
        return environment(dict(self.stage.environ) | changes)

    @contextmanager
    def start(self, *argv: str, environ: Mapping[str, str] | None = None) -> Iterator["subprocess.Popen[str]"]:
        process = subprocess.Popen(
            [sys.executable, *argv],
            cwd=ROOT,
            env=self.environ() | dict(environ or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *argv: str, environ: Mapping[str, str] | None = None) -> Ended:
        with self.start(*argv, environ=environ) as process:
            return end(process)

    def assert_silent(self, *ended: Ended) -> None:
        for one in ended:
            for token in self.tokens:
                assert token not in one.stdout
                assert token not in one.stderr
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert files
        holding = [path for path in files for token in self.tokens if token.encode() in path.read_bytes()]
        assert not holding


def end(process: "subprocess.Popen[str]") -> Ended:
    stdout, stderr = process.communicate(timeout=SECONDS)
    return Ended(code=process.returncode, stdout=stdout, stderr=stderr)


@pytest.fixture
def room(stage: Stage) -> Room:
    consumer = stage.server.create_repository(f"consumer-of-{stage.folder.name}", {CONSUMER_MANIFEST: FILES[MANIFEST]})
    token = stage.server.tokens.app.secret
    stage = stage.with_environ(FOUNTAINKIT_REPOSITORY=consumer, FOUNTAINKIT_TOKEN=token)
    stage.build()
    (stage.folder / "tmp").mkdir()
    return Room(stage=stage, tokens=(stage.environ["GITHUB_TOKEN"], token))


def publish(room: Room) -> list[str]:
    # The images are not of this checkout.
    return [*UNPACED, "ci.publish_release", "--verbose", "--allow-dirty", "--dist", os.fspath(room.folder / "dist")]


def roll_out(room: Room) -> list[str]:
    told = sha256(room.stage.asset(artifacts.RELEASE))
    return [*UNPACED, "ci.propose_rollout", "--verbose", "--tag", TAG, "--record-sha256", told]


def test_a_whole_run_at_its_most_talkative_shows_no_token(room: Room) -> None:
    published, proposed = room.run(*publish(room)), room.run(*roll_out(room))
    assert (published.code, proposed.code) == (0, 0), proposed.stderr
    # It was talkative, and it did write files.
    assert "POST /git/trees" in proposed.stderr
    assert len(list((room.folder / "logs").iterdir())) == 2
    assert (room.folder / "output").exists()
    room.assert_silent(published, proposed)
    texts = f"{room.stage.releases()} {room.stage.pulls()} {room.stage.tree(f'rollout/{TAG}')}"
    assert not [token for token in room.tokens if token in texts]


def test_no_token_is_in_the_arguments_of_the_process_or_of_its_children(room: Room) -> None:
    held = room.stage.server.faults.arm(Fault(effect=Effect.PAUSE, method="POST", path="^/api/uploads"))
    with room.start(*publish(room)) as process:
        assert held.reached.wait(SECONDS)
        arguments = (Path("/proc") / str(process.pid) / "cmdline").read_bytes()
        children = [
            (folder / "cmdline").read_bytes()
            for folder in Path("/proc").glob("[0-9]*")
            if _parent(folder) == process.pid
        ]
        held.proceed()
        ended = end(process)
    assert ended.code == 0, ended.stderr
    assert b"ci.publish_release" in arguments
    assert not [token for token in room.tokens for text in (arguments, *children) if token.encode() in text]


def _parent(folder: Path) -> int | None:
    try:
        # pid (comm) state ppid ...: proc(5)
        return int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return None


def test_what_goes_wrong_on_the_way_shows_no_token(room: Room) -> None:
    room.stage.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, call=3))
    room.stage.server.faults.arm(Fault(effect=Effect.RESET, call=5))
    room.stage.server.faults.arm(Fault(effect=Effect.PRIMARY_LIMIT, call=7, seconds=3600))
    ended = room.run(*publish(room))
    for words in ("status 502", "Connection reset by peer", "rate limit is reached"):
        assert words in ended.stderr
    room.assert_silent(ended)


def test_a_token_that_is_refused_is_not_shown(room: Room) -> None:
    expired = room.stage.server.tokens.expired.secret
    ended = room.run("-m", *publish(room)[2:], environ={"GITHUB_TOKEN": expired})
    assert ended.code == 13
    room.assert_silent(ended)
    assert expired not in ended.stdout + ended.stderr


def test_the_traceback_of_a_bug_shows_no_token(room: Room) -> None:
    ended = room.run("-c", BUG, *publish(room)[3:])
    assert ended.code == 1
    assert "Traceback" in ended.stderr
    assert "KeyError: 'Bearer ***'" in ended.stderr
    assert "ValueError: a bug with *** in Context(" in ended.stderr
    room.assert_silent(ended)


def test_actions_is_told_to_mask_the_tokens_and_hears_them_nowhere_else(room: Room) -> None:
    actions = {"GITHUB_ACTIONS": "true"}
    published, proposed = room.run(*publish(room), environ=actions), room.run(*roll_out(room), environ=actions)
    assert (published.code, proposed.code) == (0, 0), proposed.stderr
    said = f"{published.stdout}{published.stderr}{proposed.stdout}{proposed.stderr}".splitlines()
    for token in room.tokens:
        telling = [number for number, line in enumerate(said) if token in line]
        assert {said[number] for number in telling} == {f"::add-mask::{token}"}
    room.assert_silent()
