"""Whatever a text says, on the terminal and in Actions it is nothing but text."""

import base64
import inspect
import io
import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ci.host import cli, progress, secrets
from ci.host.errors import HostError
from ci.host.progress import Reporter
from ci.text.markdown import Markdown
from ci.text.visible import printed

HOSTILE = [
    "\x1b[2J\x1b]0;title\x07\x9b31m",
    "a\rb\x08\x7f\x0b\x0c",
    "\u202egnp.exe\u2066\u200b\u200d\ufeff\u00ad",
    "one\u2028::error::two\u2029three\x85::error::four",
    "first\n::error::x\n \t ::stop-commands::y\r\n::add-mask::z",
    "##[error]x ###[group]y\n##[add-matcher]z",
    "\ud800 \udcff \ufffe \U000e0001",
    "[red]x[/] [link=https://evil.example]y[/] :bomb: \\[x]",
    "x " * 40 + "::error::wrapped",
]
COMMAND = re.compile(r"^\s*::|##\[")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def nothing_but_text(text: str) -> bool:
    """Whether neither a terminal nor a runner sees anything in it."""
    lines = text.split("\n")
    return all(line.replace("\t", "").isprintable() and not COMMAND.search(line) for line in lines)


@given(st.one_of(st.text(), st.lists(st.sampled_from([*HOSTILE, ":", "#", "[", "\n", " ", "\r"])).map("".join)))
def test_no_text_is_a_command_or_hides_anything(text: str) -> None:
    assert nothing_but_text(printed(text))


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("https://[::1]:80/a\\b", "größe ☃\n\tC:\\x", "a::b\n  # [x] ##", "50 % of 3"):
        assert printed(text) == text


def test_json_stays_the_same_json(capsys: pytest.CaptureFixture[str]) -> None:
    document = {text: [text, {"\x7f": text}] for text in HOSTILE}
    progress.write_json(document)
    told = capsys.readouterr().out
    assert nothing_but_text(told)
    assert json.loads(told) == document


def calls(reporter: Reporter, text: str) -> dict[str, Callable[[], object]]:
    """Everything a reporter can be told, by its public methods."""

    def entered(manager: object) -> None:
        with manager:  # type: ignore[attr-defined]
            pass

    def steps() -> None:
        entered(reporter.step(text))
        with pytest.raises(KeyError), reporter.step(text):
            raise KeyError

    ended = iter([False, True])
    return {
        "note": lambda: reporter.note(text),
        "warn": lambda: reporter.warn(text),
        "error": lambda: reporter.error(HostError(text, hint=text, details=text), text),
        "interrupted": lambda: reporter.interrupted(Markdown("again")),
        "step": steps,
        "side_by_side": lambda: entered(reporter.side_by_side()),
        "transfer": lambda: entered(reporter.transfer(text, 10)),
        "table": lambda: reporter.table(text, (text, "x"), [(text, text)]),
        "remind": lambda: reporter.remind(text, lambda: text, lambda _: next(ended)),
    }


METHODS = {name for name, _ in inspect.getmembers(Reporter, inspect.isfunction) if not name.startswith("_")}


@pytest.mark.parametrize("in_actions", [False, True])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_nothing_that_a_reporter_is_told_gets_out_raw(
    method: str,
    *,
    in_actions: bool,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary = tmp_path / "summary"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for text in HOSTILE:
        for terminal in (False, True):
            stream = io.StringIO()
            console = Console(file=stream, force_terminal=terminal, width=80)
            calls(Reporter(console, in_actions=in_actions), text)[method]()
            # Rich's own colours, its cursor and the ends of its lines are no foreign text.
            told = COLOUR.sub("", stream.getvalue())
            own = re.sub(r"\x1b\[(\?25[lh]|[0-9]*[AK])|\r", "", told) if terminal else told
            assert nothing_but_text(own), (text, own)
        for line in capsys.readouterr().err.splitlines():
            assert re.match(r"::(error|warning)::[^\x00-\x08\x0a-\x1f]*$", line)
            assert line.replace("\t", "").isprintable()
    if summary.exists():
        told = summary.read_text()
        assert re.sub(r"[\n\t]", "", told).isprintable()
        assert "\n::" not in re.sub(r"(?s)<pre>.*?</pre>", "", told)


def test_a_failure_is_no_markdown_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    text = "``` @you #1\n\n<!-- </pre><img src=https://evil.example> ![x](y) | `"
    Reporter(Console(file=io.StringIO()), in_actions=True).error(HostError(text, hint=text))
    (shown,) = re.findall(r"(?s)<pre>(.*)</pre>", (tmp_path / "summary").read_text())
    assert "<" not in shown
    assert "\n\n" not in shown


def test_a_bug_is_told_without_anything_unseen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TOOLSMITH_LOGS", str(tmp_path))
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)

    text = "".join(HOSTILE).replace("\ud800", "").replace("\udcff", "")  # which pytest could not hand on

    def main(*_: object) -> None:
        logging.getLogger("ci.tools").debug("out| %s", text)
        raise ValueError(text)

    with pytest.raises(ValueError, match="title") as raised:
        cli.run(main, cli.parser("python -m ci.example", None), ["--verbose"])
    sys.excepthook(raised.type, raised.value, raised.tb)
    told = capsys.readouterr().err
    assert "ValueError" in told
    assert nothing_but_text(told)
    (log,) = tmp_path.iterdir()
    assert nothing_but_text(log.read_text())


def test_a_wrong_flag_is_told_without_anything_unseen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.run(lambda *_: None, cli.parser("python -m ci.example", None), ["\x1b[2J\n::error::x"])
    assert nothing_but_text(capsys.readouterr().err)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_path_is_exact_for_programs_and_only_text_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    progress.write_result("/a\x1b[2J\udcff\u202e", path=True)
    assert capsysbinary.readouterr().out == b"/a\x1b[2J\xff\xe2\x80\xae\n"
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    progress.write_result("/a\x1b[2J\udcff", path=True)
    assert terminal.getvalue() == "/a\\x1b[2J\\udcff\n"


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    found: set[str] = set()
    monkeypatch.setattr(secrets, "_values", found)
    return found


@pytest.mark.usefixtures("values")
@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY", "all_proxy", "FTP_PROXY"])
@pytest.mark.parametrize(
    ("proxy", "login"),
    [
        ("http://bob:hunter2%2f!secret@proxy.example:3128", "bob:hunter2/!secret"),
        ("bob:hunter2@proxy.example", "bob:hunter2"),
        ("http://bob:pw@proxy.example", "bob:pw"),
        ("http://bob:p@ss/wo:rd#1@[::1", "bob:p@ss/wo:rd#1"),
        ("socks5://bob:long-enough@proxy.example", "bob:long-enough"),
    ],
)
def test_a_proxys_password_is_shown_in_no_form(name: str, proxy: str, login: str) -> None:
    secrets.mask_proxies({name: proxy, "no_proxy": "localhost", "other": "bob@example.org"})
    raw = proxy.rpartition("@")[0].rpartition("://")[2]
    header = base64.b64encode(login.encode()).decode()
    for text in (proxy, f"//{login}@x", f"http://{raw}@y", f"Proxy-Authorization: Basic {header}"):
        told = secrets.masked(text)
        assert login not in told
        assert raw not in told
        assert header not in told
    assert secrets.masked("bob@example.org") == "bob@example.org"
    if len(password := login.partition(":")[2]) >= secrets.SHORTEST:
        assert password not in secrets.masked(f"password {password}")
