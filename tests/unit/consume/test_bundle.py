import ast
import io
import os
import re
import signal
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import pytest
from pytest_mock import MockerFixture

from ci import ensure_vm
from ci.consume import bundle
from ci.consume.bundle import LIBRARIES, LOCK, MAIN, archive, imported_modules, locked_entries, own_modules
from ci.host.errors import VerificationError
from ci.host.repository import ROOT
from ci.workflow import bundle_ensure_vm
from tests.support.quiet import quiet_reporter


@pytest.fixture(scope="module")
def made() -> bytes:
    return archive(ROOT)


def foreign_imports() -> set[str]:
    named = {name.partition(".")[0] for path in own_modules(ROOT) for name in imported_modules(path)}
    return named - sys.stdlib_module_names - {"ci"}


def contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_same_sources_give_the_same_bytes(made: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "elsewhere"
    for path in [*own_modules(ROOT), ROOT / "LICENSE"]:
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        os.utime(target, (1, 1))
        target.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    assert archive(copy) == made


def test_no_entry_tells_when_where_or_by_whom_it_was_made(made: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(made)) as file:
        entries = file.infolist()
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert {(entry.date_time, entry.external_attr >> 16, entry.create_system) for entry in entries} == {
        ((1980, 1, 1, 0, 0, 0), 0o644, 3)
    }
    assert not any(entry.extra or entry.comment for entry in entries)


def test_it_is_a_program_for_a_shell_and_for_python(made: bytes) -> None:
    assert made.startswith(b"#!/usr/bin/env python3\nPK")
    assert {"__main__.py", "LICENSE", "ci/__init__.py", "ci/ensure_vm.py", "certifi/cacert.pem"} <= contents(
        made
    ).keys()


def test_only_text_that_any_python_runs_goes_in(made: bytes) -> None:
    suffixes = {Path(name).suffix for name in contents(made) if not name.startswith("licenses/")}
    assert suffixes == {"", ".py", ".pem"}


def test_the_entrypoint_needs_no_library_but_those_that_go_in() -> None:
    tops = metadata.packages_distributions()
    assert {distribution.lower().replace("_", "-") for top in foreign_imports() for distribution in tops[top]} <= {
        *LIBRARIES
    }


def test_what_the_libraries_need_goes_in_too() -> None:
    left_out = {"markdown-it-py", "pygments"}  # rich imports them only for Markdown and for tracebacks
    for library in LIBRARIES:
        for requirement in metadata.requires(library) or ():
            if "extra ==" not in requirement:
                name = re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower().replace("_", "-")
                assert name in {*LIBRARIES, *left_out}, f"{library} needs {requirement}"


def test_the_libraries_run_on_the_oldest_python_that_is_promised(subtests: pytest.Subtests) -> None:
    for library in LIBRARIES:
        with subtests.test(library=library):
            required = metadata.metadata(library)["Requires-Python"]
            lowest = re.fullmatch(r">=\s*3\.(\d+)(\.0)?", required)
            assert lowest is not None, required
            assert int(lowest[1]) <= 10


def test_each_library_brings_its_licence(made: bytes) -> None:
    licensed = {name.split("/")[1] for name in contents(made) if name.startswith("licenses/")}
    assert licensed == set(LIBRARIES)


def test_nothing_of_the_builder_or_of_github_goes_in() -> None:
    names = {str(path.relative_to(ROOT)) for path in own_modules(ROOT)}
    assert "ci/consume/cache.py" in names
    assert "ci/machine/commands/run.py" in names
    assert not any(re.search(r"image/|boot/|release/|github/|rehearsal/|pydantic", name) for name in names)
    assert "pydantic" not in foreign_imports()


def test_a_library_that_was_altered_does_not_go_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "tenacity"
    package.mkdir()
    (package / "__init__.py").write_text("import os")
    info = tmp_path / "tenacity-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: tenacity\nVersion: 9\n")
    (info / "RECORD").write_text("tenacity/__init__.py,sha256=AAAA,9\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(bundle, "LIBRARIES", ("tenacity",))
    with pytest.raises(VerificationError, match=r"tenacity/__init__\.py of tenacity 9"):
        archive(ROOT)


def test_the_lock_files_entries_for_the_libraries_are_taken_over_whole() -> None:
    lock = LOCK.read_text(encoding="utf-8")
    chosen = locked_entries(lock, LIBRARIES)
    assert [line.partition("==")[0] for line in chosen.splitlines() if "==" in line] == sorted(LIBRARIES)
    for entry in re.split(r"^(?=\w)", chosen, flags=re.MULTILINE)[1:]:
        assert entry.rstrip("\n") in lock
        assert f"{entry.rstrip()} \\" not in lock  # no hash was left behind
        assert "--hash=sha256:" in entry


def test_a_library_that_is_not_locked_is_missed() -> None:
    with pytest.raises(ValueError, match="lacks zzz"):
        locked_entries("aaa==1 \\\n    --hash=sha256:0\n", ["aaa", "zzz"])


def test_the_first_lines_can_be_read_by_a_python_that_is_too_old() -> None:
    ast.parse(MAIN, feature_version=(3, 4))
    head = MAIN.partition("import importlib")[0]
    assert not re.search(r"\bf['\"]|->|:=|\bmatch\b|print\(", head)


def test_no_message_leads_to_a_file_that_its_user_lacks() -> None:
    said: list[str] = [ensure_vm.arguments().format_help()]
    for path in own_modules(ROOT):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
        own = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
        texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node.value not in own)
        said += [text for text in texts if isinstance(text, str)]
    assert "docs/exit-codes.md" in said  # the default, of the commands of a checkout
    assert [text for text in said if re.search(r"(docs|manifests|scripts)/|README", text)] == ["docs/exit-codes.md"]


def test_the_command_writes_it_where_it_is_told(made: bytes, tmp_path: Path) -> None:
    options = bundle_ensure_vm.arguments().parse_args(["--output", str(tmp_path / "new")])
    bundle_ensure_vm.main(options, quiet_reporter())
    path = tmp_path / "new" / "ensure-vm.pyz"
    assert path.read_bytes() == made
    assert path.stat().st_mode & 0o777 == 0o755


def test_ctrl_c_while_it_is_loaded_ends_it_without_a_traceback_unless_it_is_ignored(
    ctrl_c_while_loading: signal.Handlers, mocker: MockerFixture
) -> None:
    seen = []
    mocker.patch.object(sys, "argv", ["ensure-vm.pyz"])
    mocker.patch("ci.host.cli.run", return_value=0)

    def load(_name: str) -> Mock:
        seen.append(signal.getsignal(signal.SIGINT))
        return Mock()

    mocker.patch("importlib.import_module", load)
    with pytest.raises(SystemExit):
        exec(MAIN, {})  # noqa: S102 - ours, and what it is for
    assert seen == [ctrl_c_while_loading]
