"""A unit test spawns nothing and talks to nobody, which a guard sees to. It sets all variables itself; HOME is new."""

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

SPAWNING = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "pty.spawn"}
CONNECTING = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
# Where things are found. What else a person's shell or a runner has set could change an answer.
KEPT = {"PATH", "TMPDIR"}

_violations: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in SPAWNING:
        what = f"{event}: {arguments[0] if arguments else ''}"
    elif event in CONNECTING and not _is_unix(arguments):
        what = f"{event}: {arguments[-1] if event == 'socket.connect' else arguments[0]}"
    else:
        return
    if _watching:
        _violations.append(what)
        raise AssertionError(f"a unit test must not do this: {what}")


def _is_unix(arguments: tuple[Any, ...]) -> bool:
    return getattr(arguments[0], "family", None) == socket.AF_UNIX


_watching: list[bool] = []
sys.addaudithook(_audit)  # sees every way to spawn, whichever module it is called through


@pytest.fixture(autouse=True)
def _no_processes_and_no_network() -> Iterator[None]:
    _violations.clear()
    _watching.append(True)
    try:
        yield
    finally:
        _watching.clear()
    if _violations:  # the code under test may have swallowed the error
        pytest.fail(f"a unit test must not do this: {', '.join(_violations)}")


@pytest.fixture(autouse=True, scope="module")
def _no_variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name not in KEPT and not name.startswith("PYTEST_"):  # those are pytest's own
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # with caches that remember nothing
        yield
