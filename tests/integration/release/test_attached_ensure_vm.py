"""The consumer's tool among a release's files: the real one, fetched as the notes say, and of the released commit."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from ci import publish_release
from ci.consume import bundle
from ci.consume.bundle import NAME, archive
from ci.host.errors import RefusedError
from ci.host.process import run as run_process
from ci.host.repository import ROOT, Revision
from ci.records import artifacts
from tests.support import consumer_model
from tests.support.consuming import Consumer
from tests.support.releasing import TAG
from tests.support.stage import MANIFEST, Run, Stage, sha256

pytestmark = pytest.mark.integration

IMAGE = b"QFI\xfb an image"


def publish(stage: Stage, *flags: str) -> Run:
    """With the tool that is made of this checkout."""
    argv = ["--dist", os.fspath(stage.folder / "dist"), *flags]
    return stage.run(publish_release.main, publish_release.arguments(), argv)


def checked_out(monkeypatch: pytest.MonkeyPatch, commit: str, *, dirty: bool = False) -> None:
    monkeypatch.setattr(bundle, "current_revision", lambda: Revision(commit=commit, dirty=dirty))


def blocks(notes: str) -> list[list[str]]:
    """The commands of each block in the release notes."""
    return [block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", notes, re.MULTILINE | re.DOTALL)]


def test_what_the_notes_say_fetches_the_image_without_this_repository(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.build(image=IMAGE)
    checked_out(monkeypatch, stage.head())
    assert publish(stage).code == 0
    again = publish(stage)
    assert (again.code, again.writes) == (0, [])
    assert stage.propose("--tag", TAG, "--record-sha256", sha256(stage.asset(artifacts.RELEASE))).code == 0
    record = stage.record()
    assert record.ensure_vm.sha256 == sha256(stage.asset(NAME)) == sha256(archive(ROOT))
    consumer = Consumer(stage.folder / "workspace")
    consumer.write((stage.read(MANIFEST, f"rollout/{TAG}") or "").encode())
    (commands,) = [block for block in blocks(stage.releases()[0]["body"]) if "--localize" in block[-1]]
    assert shlex.split(commands[-1])[0] == "python3"
    script = "\n".join(["set -e", 'python3() { "$PYTHON" -I -S "$@"; }', *commands])
    environ = {"HOME": os.fspath(consumer.workspace), "PYTHON": sys.executable, "no_proxy": "localhost"}
    run_process(["bash", "-c", script], timeout=120, cwd=consumer.workspace, env=environ)
    assert consumer_model.hydrate(consumer.workspace).read_bytes() == IMAGE


@pytest.mark.parametrize("dirty", [False, True])
def test_a_checkout_that_is_not_of_the_released_commit_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, *, dirty: bool
) -> None:
    stage.build()
    commit = stage.head() if dirty else "a" * 40
    checked_out(monkeypatch, commit, dirty=dirty)
    run = publish(stage)
    assert run.code == RefusedError.exit_code
    assert f"this checkout is at {commit}" in run.said
    assert f"git worktree add FOLDER {stage.head()}" in run.said
    assert run.exchanges == ()
    assert publish(stage, "--allow-dirty").code == 0


def test_an_altered_tool_is_not_rolled_out(stage: Stage) -> None:
    stage.build()
    assert stage.publish().code == 0
    stage.replace_asset(NAME, b"x" * len(stage.asset(NAME)))
    run = stage.roll_out()
    assert run.code != 0
    assert f"{NAME} is not what was tested" in run.said
    assert run.writes == []


def test_anybody_can_fetch_it_and_the_record_by_the_latest_release(stage: Stage, tmp_path: Path) -> None:
    stage.build()
    assert stage.publish().code == 0
    for name in (NAME, artifacts.RELEASE):
        url = f"{stage.server.url}/{stage.repository}/releases/latest/download/{name}"
        run_process(["curl", "--fail", "--silent", "--location", "--output", tmp_path / name, url], timeout=60)
        assert (tmp_path / name).read_bytes() == stage.asset(name)
