"""The rules of the house that a machine can check."""

import ast
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ci.host import errors
from ci.host.repository import ROOT

SOURCES = sorted(path for path in (ROOT / "ci").rglob("*.py") if "node_modules" not in path.parts)
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
MAX_LINES = 400
MAX_FILES = 15
MAX_FUNCTION_LINES = 50


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(TREES[path]):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"{path} has a relative import"
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_only_process_starts_programs() -> None:
    forbidden = ("subprocess", "pty", "os.system", "os.popen", "os.fork", "multiprocessing")
    wrong = [
        f"{dotted(path)} imports {imported}; use ci.host.process"
        for path in SOURCES
        if dotted(path) != "ci.host.process"
        for imported in imports(path)
        if imported in forbidden or imported.split(".")[0] in forbidden
    ]
    assert not wrong


def test_no_file_is_too_long() -> None:
    tests = (path for path in (ROOT / "tests").rglob("*.py") if "node_modules" not in path.parts)
    assert [path for path in [*SOURCES, *tests] if len(path.read_text(encoding="utf-8").splitlines()) > MAX_LINES] == []


def test_no_room_is_too_full() -> None:
    rooms = {path.parent for path in SOURCES}
    assert {folder: count for folder in rooms if (count := len(list(folder.glob("*.py")))) > MAX_FILES} == {}


def test_no_function_is_too_long() -> None:
    functions = (
        (f"{dotted(path)}.{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert [name for name, lines in functions if lines > MAX_FUNCTION_LINES] == []


def test_a_class_has_a_name_of_its_own() -> None:
    names = Counter(node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, homes in names.items() if homes > 1 and not name.startswith("_")] == []


def error_classes(base: type[errors.ToolsmithError] = errors.ToolsmithError) -> Iterator[type[errors.ToolsmithError]]:
    yield base
    for derived in base.__subclasses__():
        yield from error_classes(derived)


def test_each_error_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in error_classes()]
    assert len(codes) == len(set(codes))
    assert 0 not in codes


def test_all_errors_are_in_the_one_file() -> None:
    assert {error.__module__ for error in error_classes()} == {"ci.host.errors"}


def test_the_documented_exit_codes_are_the_real_ones() -> None:
    text = (ROOT / "docs/exit-codes.md").read_text(encoding="utf-8")
    documented = {(int(code), cls) for code, cls in re.findall(r"^\| (\d+) \| `?(\w*)`? ?\|", text, re.MULTILINE)}
    real = {(error.exit_code, error.__name__) for error in error_classes()}
    signals = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    interrupted = {(errors.Interrupted(number).exit_code, "Interrupted") for number in signals}
    assert documented == {(0, "")} | real | interrupted
