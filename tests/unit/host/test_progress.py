import io
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from ci.host.progress import Reporter, limits, short_path


def reporter(*, in_actions: bool = False, terminal: bool = False) -> tuple[Reporter, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=60, highlight=False, color_system=None)
    return Reporter(console, in_actions=in_actions), stream


def test_outside_a_terminal_a_step_is_two_plain_lines() -> None:
    progress, stream = reporter()
    with progress.step("Build [1/2]"):
        pass
    begin, end = stream.getvalue().splitlines()
    assert begin.strip() == "Build [1/2] …"
    assert end.endswith("s Build [1/2]")
    assert [step.title for step in progress.steps] == ["Build [1/2]"]


@pytest.mark.parametrize("terminal", [True, False])
def test_steps_that_overlap_are_each_begun_and_ended(*, terminal: bool) -> None:
    progress, stream = reporter(terminal=terminal)
    long = "Boot of a machine whose name is longer than the sixty columns of this terminal"
    with progress.side_by_side():
        first, second = progress.step("Boot one"), progress.step(long)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        second.__exit__(None, None, None)
    assert [step.title for step in progress.steps] == ["Boot one", long]
    ends = [line for line in stream.getvalue().splitlines() if re.fullmatch(r".*\d\.\ds Boot .*", line)]
    assert [line.rpartition("s Boot ")[2] for line in ends] == ["one", long.removeprefix("Boot ")]
    if not terminal:
        assert [line.strip() for line in stream.getvalue().splitlines()[:2]] == ["Boot one …", f"{long} …"]


def test_a_step_that_lasts_says_so_every_minute_until_it_ends() -> None:
    progress, stream = reporter()
    asked: list[float] = []

    def ended(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) > 2

    progress.remind("Installing [packages]", lambda: limits(3600, 360), ended)
    assert stream.getvalue().splitlines() == [
        "         Installing [packages]: 1 min so far (at most 60 min; 6 min without a sign of life end it)",
        "         Installing [packages]: 2 min so far (at most 60 min; 6 min without a sign of life end it)",
    ]
    assert asked == [60, 60, 60]


def test_what_ends_a_step_is_said_where_something_does(subtests: pytest.Subtests) -> None:
    for limit, silence, words in [
        (None, None, ""),
        (45, None, " (at most 45 s)"),
        (None, 60, " (60 s without a sign of life end it)"),
    ]:
        with subtests.test(limit=limit):
            assert limits(limit, silence) == words


@pytest.mark.parametrize("kind", ["step", "overlapping", "transfer"])
def test_whatever_lasts_is_reminded_of_outside_a_terminal_only(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reminded = threading.Event()
    titles: list[str] = []

    def remind(_self: Reporter, title: str, more: Callable[[], str], ended: Callable[[float], object]) -> None:
        titles.append(title + more())
        reminded.set()
        ended(60)

    monkeypatch.setattr(Reporter, "remind", remind)
    for terminal in (True, False):
        progress, _ = reporter(terminal=terminal)
        match kind:
            case "step":
                with progress.step("Build", limit=60):
                    assert terminal or reminded.wait(60)
            case "overlapping":
                with progress.side_by_side(), progress.step("Build", limit=60):
                    assert terminal or reminded.wait(60)
            case _:
                with progress.transfer("Build", 2_000_000) as advance:
                    advance(1_000_000)
                    assert terminal or reminded.wait(60)
    (said,) = titles
    assert said.startswith("Build (")


def test_a_failed_step_is_named_and_not_remembered() -> None:
    progress, stream = reporter()
    with pytest.raises(KeyError), progress.step("Build"):
        raise KeyError
    assert "Build: failed" in stream.getvalue()
    assert progress.steps == []


@pytest.mark.parametrize("terminal", [True, False])
def test_in_actions_a_step_is_two_plain_lines_and_no_fold_hides_its_time(
    capsys: pytest.CaptureFixture[str], *, terminal: bool
) -> None:
    progress, stream = reporter(in_actions=True, terminal=terminal)
    with progress.step("Build"):
        pass
    begin, end = stream.getvalue().splitlines()
    assert begin.strip() == "Build …"
    assert end.endswith("s Build")
    assert capsys.readouterr().err == ""


def test_in_actions_a_warning_is_an_annotation(capsys: pytest.CaptureFixture[str]) -> None:
    reporter(in_actions=True)[0].warn("mind\nthe gap")
    assert capsys.readouterr().err == "::warning::mind%0Athe gap\n"


def test_brackets_in_a_text_are_shown_as_they_are() -> None:
    progress, stream = reporter()
    progress.note("[red]not a colour[/]")
    progress.warn("[bold]neither")
    assert "[red]not a colour[/]" in stream.getvalue()
    assert "[bold]neither" in stream.getvalue()


def test_a_transfer_takes_bytes_whether_or_not_the_total_is_known() -> None:
    for terminal in (False, True):
        for total in (None, 10):
            progress, stream = reporter(terminal=terminal)
            with progress.transfer("Download", total) as advance:
                advance(5)
                advance(5)
            assert "Download" in stream.getvalue()


def test_a_table_shows_every_cell_even_when_narrow() -> None:
    progress, stream = reporter()
    progress.table("Title", ("what", "fix"), [("a" * 50, "[b]")])
    text = stream.getvalue()
    assert text.count("a") >= 50
    assert "[b]" in text


def test_a_path_below_the_current_folder_is_shown_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert short_path(here / "dist" / "a.qcow2") == "dist/a.qcow2"
    assert short_path(Path("dist/a.qcow2")) == "dist/a.qcow2"
    assert short_path(tmp_path / "here-not" / "a.qcow2") == f"{tmp_path}/here-not/a.qcow2"
