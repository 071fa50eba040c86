import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.host import process
from ci.host.errors import HostError, ToolError, ToolTimeoutError
from ci.host.process import run, spawn, spawn_async
from ci.host.repository import ROOT

pytestmark = pytest.mark.integration


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_output_exit_code_and_time_are_handed_back() -> None:
    completed = run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=20, ok=(0, 3))
    assert (completed.returncode, completed.stdout, completed.stderr) == (3, "out\n", "err\n")
    assert completed.argv[0] == "sh"
    assert completed.seconds > 0


def test_arguments_are_words_and_no_shell_sees_them() -> None:
    assert run(["printf", "%s|", "a b", "$HOME; id", "*"], timeout=20).stdout == "a b|$HOME; id|*|"


def test_a_failure_has_the_last_lines_of_stderr_and_the_command() -> None:
    with pytest.raises(ToolError, match="failed with exit code 4") as caught:
        run(["sh", "-c", "seq 100 >&2; exit 4"], timeout=20)
    assert caught.value.details.splitlines() == [str(number) for number in range(86, 101)]
    assert "'seq 100 >&2; exit 4'" in caught.value.hint


def test_a_program_that_says_nothing_on_stderr_is_quoted_from_stdout() -> None:
    with pytest.raises(ToolError) as caught:
        run(["sh", "-c", "echo reason; false"], timeout=20)
    assert caught.value.details == "reason"


def test_a_killed_program_is_told_as_such() -> None:
    with pytest.raises(ToolError, match="was killed by SIGABRT"):
        run(["sh", "-c", "kill -ABRT $$"], timeout=20)


def test_a_program_past_its_deadline_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ToolTimeoutError, match="did not end within") as caught:
        run(["sh", "-c", f"echo $$ > {tmp_path}/pid; echo so far >&2; exec sleep 300"], timeout=1)
    assert caught.value.details == "so far"
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_a_program_that_is_ended_takes_what_it_started_along(tmp_path: Path) -> None:
    script = f"sleep 300 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(ToolTimeoutError):
        run(["sh", "-c", script], timeout=1)
    assert wait_for(lambda: not is_running(int((tmp_path / "pid").read_text())))


def test_a_grandchild_that_holds_the_pipe_does_not_hold_us_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    started = time.monotonic()
    completed = run(["sh", "-c", "sleep 30 & echo $!"], timeout=20)
    took = time.monotonic() - started
    os.kill(int(completed.stdout), signal.SIGKILL)
    assert took < 20


def test_a_child_has_no_stdin_to_wait_for() -> None:
    assert run(["cat"], timeout=20).stdout == ""


def test_a_file_can_be_fed_to_a_child(tmp_path: Path) -> None:
    (tmp_path / "feed").write_text("fed")
    assert run(["cat"], timeout=20, stdin=tmp_path / "feed").stdout == "fed"


def test_a_child_sees_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "hush")
    output = run(["env"], timeout=20, env={"ADDED": "yes"}).stdout
    assert "hush" not in output
    assert "ADDED=yes" in output.splitlines()


def test_output_that_is_not_utf_8_does_no_harm() -> None:
    assert run(["printf", r"\377ok"], timeout=20).stdout == "\ufffdok"


def test_each_line_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="ci.tools"):
        run(["sh", "-c", "echo one; echo two >&2"], timeout=20)
    assert {"out| one", "err| two"} <= set(caplog.messages)
    assert any(message.startswith("+ sh -c") for message in caplog.messages)


def test_a_missing_program_is_a_host_error() -> None:
    with pytest.raises(HostError, match="no-such-program"):
        run(["no-such-program"], timeout=20)


def test_a_spawned_program_ends_with_its_block() -> None:
    with spawn(["sleep", "300"]) as child:
        assert is_running(child.pid)
    assert not is_running(child.pid)
    assert child.returncode == -signal.SIGTERM


def test_a_spawned_program_that_ignores_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    with spawn(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    assert child.returncode == -signal.SIGKILL


def test_a_program_that_ended_before_its_block_did_is_not_ended_again() -> None:
    async def main() -> None:
        async with spawn_async(["sleep", "0.5"]) as child:
            # It ends while the loop stands still, which so does not know of it, whoever waited: a thread, or we.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)  # noqa: ASYNC222 - the loop must not run meanwhile
            assert child.returncode is None

    asyncio.run(main())


PARENT = """
from ci.host.process import run
run(["sh", "-c", "echo $$ > {folder}/part && mv {folder}/part {folder}/pid && exec sleep 300"], timeout=600)
"""


def test_a_child_dies_with_its_parent_even_on_sigkill(tmp_path: Path) -> None:
    script = PARENT.format(folder=tmp_path)
    with spawn([sys.executable, "-c", script], cwd=ROOT) as parent:
        assert wait_for((tmp_path / "pid").exists)
        child = int((tmp_path / "pid").read_text())
        assert is_running(child)
        parent.kill()
        parent.wait()
        assert wait_for(lambda: not is_running(child))
