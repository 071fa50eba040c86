import argparse
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.host import cli
from ci.host.errors import CheckError, HostError
from ci.host.progress import Reporter
from ci.host.workspace import CACHE_NAME
from tests.support.hostile_workspace import (
    Kind,
    dangling,
    device,
    folder,
    hard_link,
    link,
    no_hanging,
    pipe,
    unix_socket,
)


@pytest.fixture(autouse=True)
def _own_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLSMITH_LOGS", str(tmp_path / "logs"))


def run(main: Callable[[], int], *argv: str) -> int:
    def entrypoint(_options: argparse.Namespace, _reporter: Reporter) -> int:
        return main()

    return cli.run(entrypoint, cli.parser("toolsmith-image example", "An example."), argv)


def raiser(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def test_what_ends_without_an_error_has_succeeded() -> None:
    assert run(lambda: 0) == 0


def test_a_foreseen_failure_is_a_message_a_hint_and_the_path_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(raiser(HostError("no [guestfish]", hint="install it", details="last words")))
    told = capsys.readouterr().err
    (log,) = (tmp_path / "logs").iterdir()
    assert code == 3
    assert "error: no [guestfish]" in told
    assert "install it" in told
    assert "last words" in told
    assert str(log) in told
    assert "Traceback" not in told
    assert "Traceback" in log.read_text()


def test_in_actions_a_failure_is_annotated_and_in_the_summary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    assert run(raiser(CheckError("2 checks failed", hint="see the report"))) == 9
    assert "::error::2 checks failed%0Asee the report" in capsys.readouterr().err
    assert "2 checks failed" in (tmp_path / "summary").read_text()


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 // 0)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_cleans_up_and_gives_its_exit_code(number: signal.Signals, code: int) -> None:
    cleaned: list[str] = []

    def main() -> int:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # a second one does not break the clean-up
            cleaned.append("yes")
        return 0

    before = signal.getsignal(number)
    assert run(main) == code
    assert cleaned == ["yes"]
    assert signal.getsignal(number) is before


def test_the_log_is_where_the_flag_says_and_verbose_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "new" / "log.txt"

    def main() -> int:
        logging.getLogger("ci.tools").debug("out| a line of a tool")
        return 0

    run(main, "--log", str(log))
    assert "a line of a tool" in log.read_text()
    assert "a line of a tool" not in capsys.readouterr().err
    run(main, "--log", str(log), "--verbose")
    assert "a line of a tool" in capsys.readouterr().err


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the logs go that no variable sends elsewhere."""
    monkeypatch.delenv("TOOLSMITH_LOGS")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "state" / CACHE_NAME / "logs"


def test_a_log_is_its_owners_alone(state: Path, tmp_path: Path) -> None:
    assert run(lambda: 0) == 0
    (log,) = state.iterdir()
    assert (state.stat().st_mode & 0o777, log.stat().st_mode & 0o777) == (0o700, 0o600)
    assert "peak memory" in log.read_text()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_oldest_logs_are_removed_and_nothing_else(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "KEPT_LOGS", 2)
    state.mkdir(parents=True)
    (state / "20250101T000000Z-still-running.log").touch()
    for name in ("20250101T000000Z-a.log", "20250102T000000Z-b.log", "20250103T000000Z-a.log", "notes"):
        (state / name).touch()
        os.utime(state / name, (1, 1))
    run(lambda: 0)
    left = sorted(path.name for path in state.iterdir())
    kept = ["20250101T000000Z-still-running.log", "20250102T000000Z-b.log", "20250103T000000Z-a.log"]
    assert (left[:3], left[4:]) == (kept, ["notes"])


@pytest.mark.parametrize("wrong", ["a link", "a link to nothing", "a file", "a pipe", "others"])
def test_where_others_may_write_no_log_goes(state: Path, tmp_path: Path, wrong: str) -> None:
    state.parent.mkdir(parents=True)
    other = tmp_path / "other"
    other.mkdir()
    if wrong == "a link":
        state.symlink_to(other)
    elif wrong == "a link to nothing":
        state.symlink_to(other / "nothing")
    elif wrong == "a file":
        state.touch()
    elif wrong == "a pipe":
        os.mkfifo(state)
    elif os.geteuid():
        pytest.skip("only root gives folders away")
    else:
        state.mkdir()
        os.chown(state, 12345, 12345)
    assert run(lambda: 0) == 0
    assert list(other.iterdir()) == []
    assert not state.is_dir() or list(state.iterdir()) == []
    (folder,) = (tmp_path / "temporary").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_log_that_cannot_be_written_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(lambda: 0, "--log", str(tmp_path / "file" / "log")) == HostError.exit_code
    told = capsys.readouterr().err
    assert "cannot be written" in told
    assert "--log" in told


@pytest.mark.parametrize("make", [link, dangling, hard_link, pipe, device, unix_socket, folder])
def test_a_named_log_is_a_file_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Kind) -> None:
    (tmp_path / "file").write_text("of somebody")
    make(tmp_path / "log", tmp_path)
    with no_hanging():
        assert run(lambda: 0, "--log", str(tmp_path / "log")) == HostError.exit_code
    assert f"{tmp_path / 'log'} is in the way" in capsys.readouterr().err.replace("\n", "")
    assert (tmp_path / "file").read_text() == "of somebody"
    assert not (tmp_path / "nothing").exists()


def test_a_disk_that_is_full_costs_the_log_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb")
    monkeypatch.setattr(cli, "_new_log", lambda _: cli._Log(Path("/dev/full"), full))

    def main() -> int:
        for _ in range(2):
            logging.getLogger("ci").debug("a line")
        return 0

    assert run(main) == 0
    told = capsys.readouterr().err
    assert told == "warning: the log is not whole: No space left on device\n"


def test_a_wrong_flag_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(lambda: 0, "--verb")
    assert caught.value.code == 2
    assert "--verb" in capsys.readouterr().err
