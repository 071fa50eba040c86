"""SIGKILL at any moment: what has a final name is whole, and the next run ends well and leaves nothing behind."""

import json
import os
import threading
from pathlib import Path

import pytest

from tests.support import consumer_model
from tests.support.consuming import FILE, IMAGE, Consumer, manifest
from tests.support.fault_server import Fault, FaultServer, Pause
from tests.support.killed_consumer import killed_before_change, killed_when

pytestmark = pytest.mark.integration

PATH = f"/{FILE}"
FLAGS = ("--localize", "--prune")
MOST_CHANGES = 100


def workspace(folder: Path, server: FaultServer) -> Consumer:
    """With a manifest, an older image, and a corrupt one in the place of the new one."""
    consumer = Consumer(folder)
    consumer.write(manifest(server.publish(PATH, IMAGE), size=len(IMAGE)))
    for path in (consumer.cached(digest="a" * 64), consumer.cached()):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"something else")
    return consumer


def assert_sound(consumer: Consumer, *, corrupt_before: bool) -> None:
    """Whatever moment this is."""
    image = consumer_model.decode(consumer.manifest.read_bytes()).image
    assert image.qcow2 == FILE or image.qcow2.endswith(PATH)
    if image.qcow2 == FILE:
        assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    if consumer.cached().exists():
        content = consumer.cached().read_bytes()
        assert content == IMAGE or (corrupt_before and content == b"something else")


def assert_done(consumer: Consumer) -> None:
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    assert consumer.cached().read_bytes() == IMAGE
    assert consumer.files() == {".toolsmith/tools.json", str(consumer.cached().relative_to(consumer.workspace))}


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_before_each_change_to_the_disk(server: FaultServer, tmp_path: Path) -> None:
    for number in range(MOST_CHANGES):
        consumer = workspace(tmp_path / f"w{number}", server)
        killed = killed_before_change(number, consumer.workspace, FLAGS)
        assert_sound(consumer, corrupt_before=True)
        consumer.run(*FLAGS)
        assert_done(consumer)
        if not killed:
            break
    else:
        pytest.fail("the tool never came to its end")
    assert number > 10  # the test would be blind if the tool's changes went unseen


@pytest.mark.parametrize("tenth", range(11))
def test_at_each_tenth_of_the_file(server: FaultServer, tmp_path: Path, tenth: int) -> None:
    consumer = workspace(tmp_path / "workspace", server)
    sent, let_go = len(IMAGE) * tenth // 10, threading.Event()
    server.arm(PATH, Fault(cut_after=sent, hold=let_go))

    def arrived(seconds: float) -> bool:
        part = consumer.cached().with_name(f"{FILE}.part")
        give_up = threading.Event()
        for _ in range(round(seconds * 100)):
            # The last bytes may still be in a buffer: what counts is that most came.
            if server.requests and (sent == 0 or consumer.cached().exists() or size_of(part) >= sent // 2):
                return True
            give_up.wait(0.01)
        return False

    killed_when(arrived, consumer.workspace, FLAGS)
    let_go.set()
    assert_sound(consumer, corrupt_before=False)
    kept = size_of(consumer.cached().with_name(f"{FILE}.part"))
    consumer.run(*FLAGS)
    assert_done(consumer)
    assert server.ranges(PATH)[1:] in ([f"bytes={kept}-"] if kept else [None], [])


def test_a_lock_dies_with_its_run(server: FaultServer, tmp_path: Path) -> None:
    consumer = workspace(tmp_path / "workspace", server)
    pause = Pause()
    server.arm(PATH, Fault(before=pause))
    killed_when(pause.reached.wait, consumer.workspace)
    pause.over.set()
    assert consumer.run()["state"] == "downloaded"
    assert "waiting" not in consumer.said.getvalue()


def test_a_part_that_a_power_cut_spoiled_costs_time_only(server: FaultServer, tmp_path: Path) -> None:
    consumer = workspace(tmp_path / "workspace", server)
    pause = Pause()
    server.arm(PATH, Fault(cut_after=len(IMAGE) // 2), Fault(before=pause))
    killed_when(pause.reached.wait, consumer.workspace)
    pause.over.set()
    part = consumer.cached().with_name(f"{FILE}.part")
    assert json.loads(part.with_suffix(".part.json").read_text())["validator"]
    part.write_bytes(os.urandom(part.stat().st_size))
    consumer.run(*FLAGS)
    assert_done(consumer)
