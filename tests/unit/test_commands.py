import ast
import importlib
import re
import signal
import sys

import pytest
from pytest_mock import MockerFixture

from ci import __main__ as commands
from ci.host.repository import ROOT

# Before any test: while they load, libraries ask the machine where others are, which is no unit test's affair.
MODULES = {name: importlib.import_module(module) for name, module in commands.COMMANDS.items()}

LISTED = tuple(commands.COMMANDS)
OWN_NAME = f"{commands.PROGRAM} "


def test_every_command_is_listed_once_and_nothing_else() -> None:
    top = {f"ci.{path.stem}" for path in (ROOT / "ci").glob("[!_]*.py")}
    workflow = {f"ci.workflow.{path.stem}" for path in (ROOT / "ci/workflow").glob("[!_]*.py")}
    rooms = {f"ci.{path.parent.name}.__main__" for path in (ROOT / "ci").glob("*/__main__.py")}
    machine = {f"ci.machine.commands.{path.stem}" for path in (ROOT / "ci/machine/commands").glob("[!_]*.py")}
    machine -= {"ci.machine.commands.flags"}
    assert sorted(commands.COMMANDS.values()) == sorted(top | workflow | rooms | machine)
    assert sum(map(len, commands.GROUPS.values())) == len(LISTED)


@pytest.mark.parametrize("name", LISTED)
def test_every_command_says_what_it_does_in_the_first_line_of_its_docstring(name: str) -> None:
    assert commands.summary(name).endswith(".")


@pytest.mark.parametrize("name", LISTED)
def test_every_command_calls_itself_what_a_person_types(name: str) -> None:
    text = (ROOT.joinpath(*commands.COMMANDS[name].split(".")).with_suffix(".py")).read_text(encoding="utf-8")
    assert f'"{OWN_NAME}{name}"' in text
    usage = MODULES[name].arguments().format_usage()
    assert usage.startswith((f"usage: {OWN_NAME}{name} ", "usage: ensure-vm "))  # as the file that consumers download


@pytest.mark.parametrize("columns", [50, 71, 72, 80, 200])
def test_the_list_fits_the_terminal_and_has_every_command(columns: int) -> None:
    lines = commands.listing(columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines if re.match(r"  \S", line)] == list(LISTED)


def test_to_start_needs_nothing_but_python() -> None:
    body = ast.parse((ROOT / "ci/__main__.py").read_text(encoding="utf-8")).body
    imported = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    modules = {node.module or "" for node in body if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported | modules} <= sys.stdlib_module_names


@pytest.mark.parametrize("argv", [["buidl"], ["--verbose", "build"], ["--print-completion"], ["--version", "build"]])
def test_what_is_no_command_is_a_wrong_flag_with_the_next_step(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(argv)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "a command comes first" in told
    assert ("toolsmith-image build?" in told) == (argv == ["buidl"])


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_commands_of_people_and_their_flags(shell: str) -> None:
    script = commands.completion(shell)
    assert "--keep-running" in script
    assert "roll-out" in script
    assert "plan-images" not in script


def test_ctrl_c_while_a_command_is_loaded_ends_it_without_a_traceback_unless_it_is_ignored(
    ctrl_c_while_loading: signal.Handlers, mocker: MockerFixture
) -> None:
    seen = []
    mocker.patch.object(sys, "argv")
    mocker.patch("runpy.run_module", side_effect=lambda *_, **__: seen.append(signal.getsignal(signal.SIGINT)))
    commands.main(["clean"])
    assert seen == [ctrl_c_while_loading]
