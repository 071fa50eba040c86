"""The session, against a model of guestfish: one line in, words by the rules of guestfish(1) QUOTING, output back."""

import itertools
import os
import queue
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host.accelerator import Acceleration, Accelerator
from ci.host.appliance import guestfish
from ci.host.appliance.guestfish import Guestfish, quote
from ci.host.errors import AcceleratorError, BuildError, HostError, ToolTimeoutError
from ci.host.process import Child

ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}
BUFFER_BYTES = 8192
WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)', re.DOTALL)

TCG = Acceleration(accelerator=Accelerator.TCG, reason="chosen")
KVM = Acceleration(accelerator=Accelerator.KVM, reason="a guest ran with it")

Handler = Callable[[list[str]], str | None]


def unquote(text: str) -> str:
    """What guestfish makes of the inside of a double-quoted word."""
    return re.sub(r"\\(.)", lambda match: ESCAPES[match[1]], text, flags=re.DOTALL)


def words(line: str) -> list[str]:
    """The words of a command line; it must consist of them."""
    found = list(WORD.finditer(line))
    assert WORD.sub("", line).strip(" ") == "", f"not words: {line}"
    return [unquote(match[1]) if match[2] is None else match[2] for match in found]


class ModelFish:
    """Reads command lines and prints what `handler` returns; None is a failure, and guestfish ends at its first."""

    def __init__(self, handler: Handler) -> None:
        self.stdin = self
        self.stdout = self._printed()
        self.stderr = iter(["libguestfs: error: it does not work\n"])
        self.handler = handler
        self.commands: list[list[str]] = []
        self.killed = False
        self._ended = False
        self._output: queue.Queue[str | None] = queue.Queue()

    def write(self, text: str) -> None:
        if self._ended:
            raise BrokenPipeError
        for line in text.removesuffix("\n").split("\n"):
            if self._ended:
                return
            assert len(line.encode()) < BUFFER_BYTES, "guestfish would take this for two commands"
            self._perform(words(line))

    def flush(self) -> None:
        pass

    def kill(self) -> None:
        self.killed = True
        self._output.put(None)

    def wait(self) -> int:
        return 1

    def _perform(self, command: list[str]) -> None:
        if command[0] == "echo":
            self._output.put(" ".join(command[1:]) + "\n")
            return
        self.commands.append(command)
        output = self.handler(command)
        if output is None:
            self._ended = True
            self._output.put(None)
        else:
            self._output.put(output)

    def _printed(self) -> Iterator[str]:
        rest = ""
        while (text := self._output.get()) is not None:
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield f"{line}\n"


def session(handler: Handler, acceleration: Acceleration = TCG) -> tuple[Guestfish, ModelFish]:
    model = ModelFish(handler)
    return Guestfish(cast("Child", model), Path("/"), acceleration), model


@pytest.fixture(autouse=True)
def _a_model_has_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guestfish, "kill_group", lambda process: process.kill())


def printing(output: str | None) -> Handler:
    return lambda _: output


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_quoted_argument_is_one_word_on_one_line_and_arrives_as_it_was(text: str) -> None:
    assert "\n" not in quote(text)
    assert words(f"write /path {quote(text)}") == ["write", "/path", text]


def test_awkward_arguments_arrive_as_they_were(subtests: pytest.Subtests) -> None:
    for text in ["", " ", '"', "\\", '\\"', "\\n", "a\nb", "\t", "'", "# no comment", "é", "~", "<!x"]:
        with subtests.test(text=text):
            guest, model = session(printing(""))
            guest.command("write", "/path", text)
            assert model.commands == [["write", "/path", text]]


@pytest.mark.parametrize("output", ["", "\n", "one line\n", "no end of line", "two\nlines\n", "\n\nblank\n\n"])
def test_the_output_of_a_command_is_handed_back_as_it_was(output: str) -> None:
    guest, _ = session(printing(output))
    assert guest.command("cat", "/file") == output
    assert guest.command("cat", "/file") == output


def test_a_failure_is_told_in_guestfishs_own_words() -> None:
    guest, _ = session(printing(None))
    with pytest.raises(BuildError, match="failed at `mount`") as caught:
        guest.command("mount", "/dev/sda1", "/")
    assert caught.value.details == "libguestfs: error: it does not work"
    assert caught.value.hint


def test_a_session_that_has_ended_fails_at_once() -> None:
    guest, _ = session(printing(None))
    for _ in range(2):
        with pytest.raises(BuildError):
            guest.command("mount", "/dev/sda1", "/")


class Hanging(ModelFish):
    def _perform(self, command: list[str]) -> None:
        pass  # no output until it is killed


def test_a_command_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=guestfish.FULL_BYTES))
    model = Hanging(printing(""))
    with pytest.raises(ToolTimeoutError, match="did not finish `resize2fs`"):
        Guestfish(cast("Child", model), Path("/"), TCG).command("resize2fs", "/dev/sda1", timeout=0.01)
    assert model.killed


def test_a_command_that_waits_for_space_on_a_full_disk_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=guestfish.FULL_BYTES - (len(asked) > 2))

    monkeypatch.setattr(guestfish, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    model = Hanging(printing(""))
    with pytest.raises(HostError, match="disk became full while the appliance was at `sync`") as caught:
        Guestfish(cast("Child", model), tmp_path, TCG).command("sync", timeout=300)
    assert model.killed
    assert set(asked) == {tmp_path}
    assert "--output" in caught.value.hint


class Clock:
    """Time that passes while the watchdog looks at the disk, a minute each time; `writing`: the appliance writes."""

    def __init__(self, console: Path, *, writing: bool) -> None:
        self.now = 0.0
        self.console = console
        self.writing = writing

    def monotonic(self) -> float:
        return self.now

    def look(self, _path: Path) -> SimpleNamespace:
        self.now += 60
        if self.writing:
            with self.console.open("a") as console:
                console.write("alive\n")
        return SimpleNamespace(free=guestfish.FULL_BYTES)


def wait_in_vain(
    folder: Path, monkeypatch: pytest.MonkeyPatch, acceleration: Acceleration, *, writing: bool
) -> tuple[Exception, float]:
    """What a command that never ends, with an hour's time, comes to; and when."""
    clock = Clock(folder / "appliance.log", writing=writing)
    clock.console.write_text("Starting /init script ...\n")
    monkeypatch.setattr(guestfish, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(guestfish, "time", clock)
    monkeypatch.setattr(shutil, "disk_usage", clock.look)
    guest = Guestfish(cast("Child", Hanging(printing(""))), folder, acceleration)
    with pytest.raises((ToolTimeoutError, AcceleratorError)) as caught:
        guest.command("run", timeout=3600)
    return caught.value, clock.now


def test_an_appliance_without_a_sign_of_life_is_ended_long_before_its_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, seconds = wait_in_vain(tmp_path, monkeypatch, KVM, writing=False)
    assert isinstance(error, AcceleratorError)
    assert "no sign of life for 60 s at `run`, with KVM" in str(error)
    assert error.details == "Starting /init script ..."
    assert seconds == 60
    error, seconds = wait_in_vain(tmp_path, monkeypatch, TCG, writing=False)
    assert isinstance(error, ToolTimeoutError)
    assert "no sign of life for 360 s" in str(error)
    assert seconds == 360


@pytest.mark.parametrize("acceleration", [KVM, TCG])
def test_an_appliance_that_writes_on_its_console_has_the_whole_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, acceleration: Acceleration
) -> None:
    error, seconds = wait_in_vain(tmp_path, monkeypatch, acceleration, writing=True)
    assert "did not finish `run` within 3600 s" in str(error)
    assert seconds == 3600


@pytest.mark.parametrize(
    "words",
    [
        "libguestfs: error: appliance closed the connection unexpectedly.\n",
        "This usually means the libguestfs appliance failed to start or crashed.\n",
        "libguestfs: error: /tmp/x/qemu-with-kvm killed by signal 6 (Aborted).\n",
    ],
)
def test_an_appliance_that_dies_is_kvms_fault_where_there_is_kvm(words: str) -> None:
    for acceleration, kind in ((KVM, AcceleratorError), (TCG, BuildError)):
        model = ModelFish(printing(None))
        model.stderr = iter([words])
        guest = Guestfish(cast("Child", model), Path("/"), acceleration)
        with pytest.raises(kind) as caught:
            guest.command("run")
        assert caught.value.details == words.rstrip()
    with pytest.raises(BuildError):
        session(printing(None), KVM)[0].command("mount", "/dev/sda1", "/")


def test_a_started_appliance_is_told_to_write_on_its_console_by_its_own_clock() -> None:
    guest, model = session(printing(""))
    guest.start()
    (run, (name, shell, script)) = model.commands
    assert run == ["run"]
    assert (name, shell) == ("debug", "sh")
    assert "while sleep 6; do echo alive >/dev/console; done" in script


def test_a_file_of_any_length_is_written_whole(subtests: pytest.Subtests) -> None:
    files: dict[str, str] = {}

    def write(command: list[str]) -> str:
        name, path, content = command
        files[path] = content if name == "write" else files[path] + content
        return ""

    for character, length in itertools.product(["k", "\\", "\n", "\U0001f511"], [0, 1, 999, 1000, 1001, 100_000]):
        with subtests.test(character=character, length=length):
            guest, _ = session(write)
            guest.write("/etc/keys", character * length)
            assert files == {"/etc/keys": character * length}


def test_a_command_longer_than_guestfish_reads_is_never_sent() -> None:
    guest, model = session(printing(""))
    with pytest.raises(ValueError, match="cannot read a command"):
        guest.command("write", "/path", "k" * BUFFER_BYTES)
    assert model.commands == []


def run_shell(code: int, printed: str) -> Handler:
    """guestfish's `sh`, for scripts of the form that `shell` makes."""

    def handler(command: list[str]) -> str:
        name, script = command
        assert name == "sh"
        assert script.endswith("echo exit=$code")
        return f"{printed}\nexit={code}\n"

    return handler


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("", ""),
        ("done\n", "done"),
        ("no end of line", "no end of line"),
        ("exit=0\nlater\n", "exit=0\nlater"),
        ("a\n\nb\n", "a\n\nb"),
    ],
)
def test_a_script_gives_its_exit_code_and_all_it_printed(printed: str, text: str) -> None:
    guest, _ = session(run_shell(3, printed))
    assert guest.shell("true", timeout=300) == (3, text)


def test_a_script_of_several_lines_arrives_as_one_command() -> None:
    guest, model = session(run_shell(0, ""))
    guest.shell("set -e\nfalse\n# a comment at the end", timeout=300)
    (command,) = cast("Any", model.commands)
    assert "set -e\nfalse\n# a comment at the end\n}" in command[1]


@pytest.mark.parametrize("acceleration", [KVM, TCG])
def test_libguestfs_starts_the_qemu_in_path_with_the_accelerator_that_was_found(
    acceleration: Acceleration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "a folder" / "qemu-system-x86_64"
    qemu.parent.mkdir()
    qemu.touch()
    monkeypatch.setattr(guestfish, "require_tool", {"qemu-system-x86_64": str(qemu)}.__getitem__)
    environment = guestfish.libguestfs_environment(acceleration, tmp_path)
    hypervisor = tmp_path / environment.pop("LIBGUESTFS_HV")
    with_tcg = {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg", "LIBGUESTFS_APPEND": "tsc=unstable"}
    assert environment == {"LIBGUESTFS_BACKEND": "direct"} | (with_tcg if acceleration is TCG else {})
    assert f"accelerator='-accel {acceleration.accelerator}" in hypervisor.read_text()
    assert hypervisor.read_text().endswith(f"exec '{qemu}' \"$@\" $accelerator\n")
    assert os.access(hypervisor, os.X_OK)
    assert hypervisor.stat().st_mtime_ns == qemu.stat().st_mtime_ns


def test_a_qemu_that_a_person_told_libguestfs_to_start_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu = tmp_path / "my-qemu"
    qemu.touch()
    monkeypatch.setenv("LIBGUESTFS_HV", str(qemu))
    hypervisor = tmp_path / guestfish.libguestfs_environment(TCG, tmp_path)["LIBGUESTFS_HV"]
    assert f'exec {qemu} "$@" $accelerator' in hypervisor.read_text()
