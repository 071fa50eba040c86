import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ci.host.errors import BootError
from ci.machine.monitor import Monitor

DEVICES = b"devices" * 100_000


class FakeQemu:
    """The end of a monitor that QEMU has: knows its commands, and keeps what it was asked."""

    def __init__(self, statuses: list[str], saved: bytes = DEVICES) -> None:
        self.statuses = iter(statuses)
        self.saved = saved
        self.asked: list[str] = []
        self.loaded = b""

    def serve(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.sendall(b'{"QMP": {}}\n')
        rest, handle = b"", -1
        with connection:
            while True:
                data, handles, _, _ = socket.recv_fds(connection, 1 << 16, 1)
                if not data:
                    return
                handle = handles[0] if handles else handle
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    question = json.loads(line)
                    self.asked.append(question["execute"])
                    connection.sendall(json.dumps({"id": question["id"], "return": self.answer(question)}).encode())
                    connection.sendall(b'\n{"event": "STOP"}\n')
                    if question["execute"] == "migrate":
                        with suppress(BrokenPipeError), os.fdopen(handle, "wb") as pipe:
                            pipe.write(self.saved)
                    if question["execute"] == "migrate-incoming":
                        with os.fdopen(handle, "rb") as pipe:
                            self.loaded = pipe.read()

    def answer(self, question: dict[str, object]) -> object:
        return {"status": next(self.statuses)} if str(question["execute"]).startswith("query-") else {}


@contextmanager
def serving(qemu: FakeQemu, folder: Path) -> Iterator[Monitor]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(bytes(folder / "monitor"))
        listener.listen(1)
        thread = threading.Thread(target=qemu.serve, args=(listener,), daemon=True)
        thread.start()
        with Monitor(folder / "monitor") as monitor:
            yield monitor
        thread.join()


def test_a_machine_is_stopped_and_its_devices_saved_without_its_memory(tmp_path: Path) -> None:
    qemu = FakeQemu(["active", "completed"])
    with serving(qemu, tmp_path) as monitor:
        assert monitor.save(1 << 20) == DEVICES
    assert qemu.asked[1:5] == ["stop", "migrate-set-capabilities", "getfd", "migrate"]


def test_what_was_saved_goes_in_whole_and_then_the_machine_goes_on(tmp_path: Path) -> None:
    qemu = FakeQemu(["inmigrate", "paused"])
    with serving(qemu, tmp_path) as monitor:
        monitor.resume(DEVICES)
    assert qemu.loaded == DEVICES
    assert qemu.asked[-1] == "cont"


@pytest.mark.parametrize(
    ("qemu", "act"),
    [
        (FakeQemu(["failed"]), lambda monitor: monitor.save(1 << 20)),
        (FakeQemu(["completed"]), lambda monitor: monitor.save(1000)),
        (FakeQemu(["internal-error"]), lambda monitor: monitor.resume(DEVICES)),
    ],
)
def test_what_does_not_come_about_is_an_error(qemu: FakeQemu, act: Callable[[Monitor], object], tmp_path: Path) -> None:
    with serving(qemu, tmp_path) as monitor, pytest.raises(BootError):
        act(monitor)
