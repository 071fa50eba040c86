from pathlib import Path

import pytest

from ci.host.errors import HostError
from ci.host.process import child_environment, command_line, find_tool, require_tool


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def add_tool(folder: Path, name: str) -> str:
    path = folder / name
    path.touch(mode=0o755)
    return str(path)


def test_a_tool_is_found_in_path(tools: Path) -> None:
    path = add_tool(tools, "a-tool-of-this-test")
    assert find_tool("a-tool-of-this-test") == path


def test_a_missing_tool_is_the_hosts_fault_and_says_what_to_do(tools: Path) -> None:
    with pytest.raises(HostError, match="no-such-tool is not installed") as caught:
        require_tool("no-such-tool")
    assert "make setup" in caught.value.hint
    assert not list(tools.iterdir())


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "A_SECRET", "DB_PASSWORD", "SIGNING_KEY"])
def test_a_child_gets_no_credentials(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("HARMLESS", "yes")
    environment = child_environment()
    assert name not in environment
    assert environment["HARMLESS"] == "yes"


def test_a_child_speaks_english_in_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.ISO-8859-1")
    assert child_environment()["LC_ALL"] == "C.UTF-8"


def test_what_is_added_for_a_child_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLOUR", "red")
    assert child_environment({"COLOUR": "blue"})["COLOUR"] == "blue"


def test_a_program_is_run_by_its_full_path_and_dies_with_us(tools: Path) -> None:
    tool, setpriv = add_tool(tools, "tool"), add_tool(tools, "setpriv")
    argv = command_line(["tool", Path("/a b"), "-c"])
    assert argv == [setpriv, "--pdeathsig=KILL", "--", tool, "/a b", "-c"]
