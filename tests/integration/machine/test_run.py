"""Commands in the image, as a consumer runs them: three starts, and one that is broken off."""

import hashlib
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ci.consume.bundle import archive
from ci.host.errors import BootError
from ci.host.files import sha256_file
from ci.host.qemu import QEMU, escape
from ci.host.repository import ROOT
from ci.machine import places
from ci.machine.machine import Machine
from ci.machine.spec import SessionSpec
from tests.support.building import Built
from tests.support.consuming import Consumer, manifest
from tests.support.pythons import interpreter
from tests.support.qemus import running_with

pytestmark = pytest.mark.integration

COMMAND = ROOT / "scripts/toolsmith-image"
WORDS = ["a b", "it's", '"', "new\nline", "", "$HOME", "`x`", "ü€", "~", "if", "--", "a=b", "\\", "-n", "*"]
BYTES = hashlib.shake_256(b"stdin").digest(1 << 20)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A workspace with a folder for results, and where machines are noted."""

    workspace: Path
    results: Path
    runtime: Path

    def popen(
        self, *argv: str | os.PathLike[str], stdin: int = subprocess.DEVNULL, stdout: int = subprocess.PIPE
    ) -> "subprocess.Popen[bytes]":
        environment = os.environ | {"XDG_RUNTIME_DIR": os.fspath(self.runtime), "TMPDIR": os.fspath(self.runtime)}
        environment["TOOLSMITH_WARM"] = "no"  # test_warm.py is about that
        return subprocess.Popen(
            argv, cwd=self.workspace, env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *argv: str | os.PathLike[str], stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        with self.popen(*argv, stdin=subprocess.PIPE) as child:
            stdout, stderr = child.communicate(stdin)
        return subprocess.CompletedProcess(argv, child.returncode, stdout, stderr)

    def exec(self, *argv: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return self.run(COMMAND, "exec", "--", *argv, stdin=stdin)


def make_place(parent: Path) -> Iterator[Place]:
    runtime = Path(tempfile.mkdtemp(dir="/tmp", prefix="t-"))
    place = Place(workspace=parent / "a workspace, 'ü'", results=parent / "results", runtime=runtime)
    for folder in (place.workspace, place.results):
        folder.mkdir()
    (place.workspace / "script.py").write_text("import sys\nprint('in', sys.stdin.read())\nsys.exit(7)\n")
    yield place
    shutil.rmtree(runtime)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield from make_place(tmp_path)


@pytest.fixture(scope="module")
def started(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A machine that lives on."""
    for place in make_place(tmp_path_factory.mktemp("started")):
        done = place.run(COMMAND, "start", "--image", built.image, "--export", f"{place.results}:out")
        assert (done.returncode, done.stdout) == (0, b"default\n"), done.stderr.decode()
        try:
            yield place
        finally:
            ended = place.run(COMMAND, "stop")
        assert ended.returncode == 0, ended.stderr.decode()
        assert_nothing_is_left(place)


def qemus(place: Place) -> dict[int, list[str]]:
    running = running_with(escape(place.workspace))
    return {pid: words for pid, words in running.items() if words[0].endswith(QEMU)}


def assert_nothing_is_left(place: Place, *, files: bool = False) -> None:
    """No process; and no sockets and keys, unless whoever would have removed these `files` was killed."""
    until = time.monotonic() + 20
    while (left := qemus(place) | running_with(os.fspath(place.runtime))) and time.monotonic() < until:
        time.sleep(0.05)  # ssh notices a moment later that its machine is gone
    assert left == {}
    if not files:
        found = place.runtime.rglob("*")
        assert [path.name for path in found if path.is_socket() or path.name.startswith("key")] == []


def test_each_word_of_a_command_arrives_as_it_is(started: Place) -> None:
    done = started.exec("python3", "-c", "import sys; print(ascii(sys.argv[1:]))", *WORDS)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"{WORDS!a}\n", b"")


def test_input_output_and_errors_are_kept_apart_byte_by_byte(started: Place) -> None:
    done = started.exec("sh", "-c", "cat; printf 'e\\000' >&2", stdin=BYTES)
    assert (done.returncode, done.stdout == BYTES, done.stderr) == (0, True, b"e\0")


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 3", 3), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -SEGV $$", 139), ("test $(pwd) = /mnt/work", 0)],
)
def test_the_exit_code_is_the_commands(started: Place, command: str, code: int) -> None:
    assert started.exec("sh", "-c", command).returncode == code


def test_a_command_that_is_not_there_is_told_from_one_that_fails(started: Place) -> None:
    done = started.exec("if", "x")
    assert done.returncode == 127
    assert done.stderr.endswith(b"exec: if: not found\n")


def test_the_workspace_is_only_read_and_an_export_is_written(started: Place) -> None:
    done = started.exec("sh", "-c", "sudo touch /mnt/work/x; sudo rm script.py; echo result >/mnt/out/file")
    assert b"Read-only file system" in done.stderr
    assert [path.name for path in started.workspace.iterdir()] == ["script.py"]
    assert (started.results / "file").read_text() == "result\n"


def test_nothing_outside_the_machine_can_be_reached(started: Place) -> None:
    assert started.exec("python3", "-c", "import socket; socket.create_connection(('10.0.2.2', 22), 3)").returncode == 1


def test_no_port_listens_and_no_socket_can_be_entered_by_others(started: Place) -> None:
    (qemu,) = qemus(started)
    own = {os.fspath(handle.readlink()) for handle in Path(f"/proc/{qemu}/fd").iterdir()}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        rows = [line.split() for line in Path(f"/proc/{qemu}/net/{table}").read_text().splitlines()[1:]]
        assert not [row for row in rows if f"socket:[{row[9]}]" in own]
    folder = started.runtime / places.OWN_NAME
    assert [path for path in (folder, folder / "default") if path.stat().st_mode & 0o077] == []
    assert (folder / "default" / "key").stat().st_mode & 0o077 == 0


def test_a_terminal_is_one_there_too_and_ctrl_c_goes_to_the_command(started: Place) -> None:
    ours, theirs = pty.openpty()
    child = started.popen(COMMAND, "exec", "--", "sh", "-c", "tty; exec sleep 600", stdin=theirs, stdout=theirs)
    os.close(theirs)
    with child, os.fdopen(ours, "r+b", buffering=0) as terminal:
        said = b""
        while b"\n" not in said:
            said += terminal.read(100)
        assert re.fullmatch(rb"/dev/pts/\d+\r\n", said)
        terminal.write(b"\x03")
        assert child.wait(120) == 130


def test_a_second_start_of_the_name_says_so(started: Place, built: Built) -> None:
    done = started.run(COMMAND, "start", "--image", built.image)
    assert done.returncode == 14
    assert b"a machine called default runs already" in done.stderr


def test_a_connection_that_was_lost_is_opened_anew(started: Place) -> None:
    control = started.runtime / places.OWN_NAME / "default" / "control"
    assert started.run("ssh", "-S", control, "-O", "exit", "x").returncode == 0
    done = started.exec("cat", "script.py")
    assert (done.returncode, done.stdout) == (0, (started.workspace / "script.py").read_bytes()), done.stderr
    assert control.exists()


def test_the_rest_of_the_start_comes_by_itself(started: Place) -> None:
    assert started.exec("sudo", "systemctl", "is-system-running", "--wait").stdout == b"running\n"
    assert started.exec("systemctl", "is-active", "multi-user.target").stdout == b"active\n"


def test_python_gets_what_a_command_came_to(started: Place, built: Built) -> None:
    machine = Machine(SessionSpec(built.image, started.workspace))
    machine.folder = started.runtime / places.OWN_NAME / "default"
    done = machine.run(["sh", "-c", "echo out; echo err >&2; exit 255"])
    assert (done.returncode, done.stdout, done.stderr) == (255, "out\n", "err\n")
    machine.folder = started.runtime
    with pytest.raises(BootError, match="connection to the machine was lost"):
        machine.run(["true"])


def test_from_nothing_but_a_manifest_one_line_runs_a_script(built: Built, place: Place, tmp_path: Path) -> None:
    digest = sha256_file(built.image)
    Consumer(place.workspace).write(manifest(os.fspath(built.image), qcow2_sha256=digest))
    pyz = tmp_path / "ensure-vm.pyz"
    pyz.write_bytes(archive(ROOT))
    python = interpreter("python3.10") or sys.executable
    done = place.run(python, "-I", "-S", pyz, "run", "--", "python3", "script.py", stdin=b"words")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in words\n", b"")
    assert_nothing_is_left(place)


def test_the_end_of_a_run_is_the_end_of_its_machine(built: Built, place: Place) -> None:
    with place.popen(COMMAND, "run", "--image", built.image, "--", "sh", "-c", "echo up; exec sleep 600") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.send_signal(signal.SIGTERM)
        assert child.wait(120) == 143
    assert_nothing_is_left(place)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_start_that_is_broken_off_leaves_nothing(built: Built, place: Place, number: signal.Signals) -> None:
    with place.popen(COMMAND, "run", "--image", built.image, "--", "true") as child:
        while not qemus(place):
            assert child.poll() is None
            time.sleep(0.05)
        child.send_signal(number)
        assert child.wait(120) == (-number if number == signal.SIGKILL else 128 + number)
    assert_nothing_is_left(place, files=number == signal.SIGKILL)
