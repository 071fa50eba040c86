import ast
import itertools
import re
import sys

import pytest

from ci import __main__ as commands
from ci.host.repository import ROOT

LISTED = tuple(itertools.chain.from_iterable(commands.GROUPS.values()))


def test_every_command_is_listed_once_and_nothing_else() -> None:
    top = {path.stem for path in (ROOT / "ci").glob("[!_]*.py")}
    workflow = {f"workflow.{path.stem}" for path in (ROOT / "ci/workflow").glob("[!_]*.py")}
    rooms = {path.parent.name for path in (ROOT / "ci").glob("*/__main__.py")}
    assert sorted(LISTED) == sorted(top | workflow | rooms)


@pytest.mark.parametrize("name", LISTED)
def test_every_command_says_what_it_does_in_the_first_line_of_its_docstring(name: str) -> None:
    assert commands.summary(name).endswith(".")


@pytest.mark.parametrize("columns", [50, 71, 72, 80, 200])
def test_the_list_fits_the_terminal_and_has_every_command(columns: int) -> None:
    lines = commands.listing(columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines if re.match(r"  \S", line)] == list(LISTED)


def test_to_list_the_commands_needs_nothing_but_python() -> None:
    tree = ast.parse((ROOT / "ci/__main__.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported | modules} <= sys.stdlib_module_names
