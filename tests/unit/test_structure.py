"""The rules of the house that a machine can check."""

import ast
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.host import errors

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "ci").rglob("*.py"))
MAX_LINES = 400

# What each room may import from; entrypoints, in ci/ itself, may import from all.
ALLOWED = {
    "host": {"host"},
    "records": {"host", "records"},
    "image": {"host", "records", "image"},
    "boot": {"host", "records", "boot"},
    "release": {"host", "records", "release"},
    "rehearsal": {"host", "records", "rehearsal"},
    "consume": {"host", "records", "consume"},
    "catalogue": {"host", "records", "catalogue"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"{path} has a relative import"
                yield from (f"{module}.{alias.name}" for alias in names)
            case _:
                pass


def room(path: Path) -> str | None:
    parts = path.relative_to(ROOT / "ci").parts
    return parts[0] if len(parts) > 1 else None


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_imports_point_down_and_rooms_do_not_know_each_other(path: Path) -> None:
    own = room(path)
    for imported in imports(path):
        if imported.split(".")[0] == "ci" and own is not None:
            target = imported.split(".")[1]
            assert target in ALLOWED[own], f"{name(path)} imports {imported}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_process_starts_programs(path: Path) -> None:
    if name(path) == "ci/host/process.py":
        return
    forbidden = {"subprocess", "pty", "os.system", "os.popen", "os.fork", "multiprocessing"}
    found = {imported for imported in imports(path) if imported in forbidden or imported.split(".")[0] in forbidden}
    assert not found, f"{name(path)} imports {found}; use ci.host.process"


@pytest.mark.parametrize("path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=name)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


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
    interrupted = {(errors.Interrupted(number).exit_code, "Interrupted") for number in (signal.SIGINT, signal.SIGTERM)}
    assert documented == {(0, "")} | real | interrupted
