"""What the guest sends is never believed to be anything."""

import json
import socket
from collections.abc import Iterator

import pytest

from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import AcceleratorError, BootError, ToolsmithError
from ci.machine.agent import Agent
from ci.machine.channel import MAX_LINE, Channel
from ci.machine.watch import Watch

TCG = Acceleration(accelerator=Accelerator.TCG, reason="a test")
# Waits for nothing: what is not there already counts as silence.
AT_ONCE = Acceleration(accelerator=Accelerator.TCG, reason="a test", sharing=0)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our side, and the guest's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def console() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def always(_connection: socket.socket, _what: str) -> bool:
    return True


def ended(tail: str) -> ToolsmithError:
    return BootError("QEMU ended", details=tail)


def watch(console: Pair, acceleration: Acceleration = TCG) -> Watch:
    return Watch(console[0], acceleration, ended)


def test_the_answer_is_the_one_with_the_questions_number(pair: Pair) -> None:
    pair[1].sendall(b'{"event": "X"}\n{"return": "late", "id": 77}\n{"return": "early"}\n{"return": "this", "id": 1}\n')
    assert Channel(pair[0], "x").ask("c", {"a": 1}, always) == "this"
    assert json.loads(pair[1].recv(1000)) == {"execute": "c", "arguments": {"a": 1}, "id": 1}


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b'{"error": {"desc": "not so"}, "id": 1}\n', "refused c: not so"),
        (b'{"error": ["x"], "id": 1}\n', "refused c"),
        (b'{"id": 1}\n', "refused c"),
        (b"\xff\xfe\n", "no JSON"),
        (b"[" * 100_000 + b"\n", "no JSON"),
        (b"x" * (MAX_LINE + 1), "more than"),
    ],
)
def test_what_is_no_answer_is_an_error(pair: Pair, sent: bytes, says: str) -> None:
    pair[1].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_LINE)
    pair[1].sendall(sent)
    with pytest.raises(BootError, match=says):
        Channel(pair[0], "x").ask("c", {}, always)


def test_who_hangs_up_is_an_error(pair: Pair) -> None:
    pair[1].shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError, match="hung up"):
        Channel(pair[0], "x").ask("c", {}, always)


@pytest.mark.parametrize("junk", [b'"text"\n', b"[1]\n", b'{"return": [1]}\n', b'{"return": {"a": 1}}\n', b"null\n"])
def test_what_the_agent_says_besides_is_passed_over(
    pair: Pair, console: Pair, junk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 42)
    pair[1].sendall(junk + b'{"return": 41}\n{"return": 42}\n')
    Agent(pair[0], watch(console)).answers()


def test_a_key_that_the_agent_refuses_is_an_error(pair: Pair, console: Pair) -> None:
    pair[1].sendall(b'{"error": {"class": "CommandNotFound", "desc": "disabled"}, "id": 1}\n')
    with pytest.raises(BootError, match="refused guest-ssh-add-authorized-keys: disabled"):
        Agent(pair[0], watch(console)).add_authorized_key("fountain", "ssh-ed25519 A\n")
    assert json.loads(pair[1].recv(1000))["arguments"] == {"username": "fountain", "keys": ["ssh-ed25519 A"]}


def test_a_panic_ends_the_wait_and_the_console_is_shown(pair: Pair, console: Pair) -> None:
    console[1].sendall(b"\x1b[1mone\x1b[0m\r\n\r\n[ 1.0] Kernel panic - not syncing: no init\r\n" + b"x" * 500)
    with pytest.raises(BootError, match="Kernel panic - not syncing: no init") as failure:
        watch(console).until(pair[0], "a thing")
    assert failure.value.details.startswith("one\n[ 1.0] Kernel panic")
    assert len(failure.value.details.splitlines()[-1]) < 310


def test_a_qemu_that_ends_ends_the_wait(pair: Pair, console: Pair) -> None:
    console[1].sendall(b"last words")
    console[1].shutdown(socket.SHUT_WR)
    with pytest.raises(BootError, match="QEMU ended") as failure:
        watch(console).until(pair[0], "a thing")
    assert failure.value.details == "last words"


def test_silence_ends_the_wait_and_is_kvms_fault_where_that_runs(pair: Pair, console: Pair) -> None:
    with pytest.raises(BootError, match="a thing: no sign of life for 0 s"):
        watch(console, AT_ONCE).until(pair[0], "a thing")
    kvm = Acceleration(accelerator=Accelerator.KVM, reason="a test", sharing=0)
    with pytest.raises(AcceleratorError, match="with KVM"):
        watch(console, kvm).until(pair[0], "a thing")


def test_who_waits_only_for_a_while_is_told_so(pair: Pair, console: Pair) -> None:
    assert not watch(console).until(pair[0], "a thing", 0)
    pair[1].sendall(b"x")
    assert watch(console).until(pair[0], "a thing", 0)
