import os
import re
import shlex
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from ci.host.process import run
from ci.host.repository import ROOT
from tests.support.locks import LOCKS

pytestmark = pytest.mark.integration

SETUP = ROOT / "scripts/setup.sh"

FAKES = {
    "dpkg-query": 'case "${@: -1}" in gpgv | isc-dhcp-client) exit 1 ;; *) printf installed ;; esac',
    "apt-get": 'echo "$DEBIAN_FRONTEND apt-get $*" >>"$RECORD"',
    "apt-cache": 'printf "%s:\\n  Installed: (none)\\n  Candidate: 4.4\\n" "$2"',
}


@pytest.fixture
def empty_project(tmp_path: Path) -> Path:
    """A project with nothing but the script and empty locks; returns the script."""
    (tmp_path / "project/scripts").mkdir(parents=True)
    for lock in LOCKS:
        (tmp_path / "project" / lock).write_text(f"# {lock}: nothing yet\n")
    return Path(shutil.copy(SETUP, tmp_path / "project/scripts"))


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH with the shell's everyday programs, and neither apt nor any tool of ours."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "cat", "dirname", "env", "grep", "sha256sum"):
        tool = shutil.which(name)
        assert tool is not None
        (folder / name).symlink_to(tool)
    return folder


def test_where_nothing_is_missing_a_second_run_does_nothing() -> None:
    run([SETUP], timeout=600)
    environment = ROOT / ".venv"
    before = environment.stat().st_mtime_ns
    second = run([SETUP], timeout=60)
    assert second.stderr.splitlines()[-1] == "setup: nothing to do"
    assert "installing" not in second.stderr
    assert environment.stat().st_mtime_ns == before


def test_without_apt_it_lists_what_to_install(bare_path: Path) -> None:
    completed = run([bare_path / "bash", SETUP], timeout=60, ok=(3,), env={"PATH": str(bare_path)})
    assert "there is no apt-get here; please install:" in completed.stderr
    for tool in ("guestfish", "qemu-system-x86_64", "mmdebstrap", "cloud-localds"):
        assert f"    {tool} (Debian: " in completed.stderr


def test_only_what_is_missing_is_installed(empty_project: Path, tmp_path: Path) -> None:
    fakes, record = tmp_path / "fakes", tmp_path / "record"
    fakes.mkdir()
    for name, body in FAKES.items():
        (fakes / name).write_text(f"#!/bin/bash\n{body}\n")
        (fakes / name).chmod(0o755)
    env = {"PATH": f"{fakes}{os.pathsep}{os.environ['PATH']}", "RECORD": str(record), "DEBIAN_FRONTEND": ""}
    told = run([empty_project], timeout=600, env=env).stderr
    assert "setup: installing gpgv isc-dhcp-client\n" in told
    assert record.read_text().splitlines() == [
        " apt-get update -qq",
        "noninteractive apt-get install -qq --yes --no-install-recommends gpgv isc-dhcp-client",
    ]


@pytest.mark.parametrize(
    ("flags", "installed"),
    [([], "gpgv isc-dhcp-client"), (["--tests"], "gpgv chromium chromium-driver isc-dhcp-client")],
)
def test_the_browser_is_for_the_tests_only(
    empty_project: Path, bare_path: Path, tmp_path: Path, flags: list[str], installed: str
) -> None:
    record = tmp_path / "record"
    for name, body in FAKES.items():
        (bare_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (bare_path / name).chmod(0o755)
    env = {"PATH": str(bare_path), "RECORD": str(record), "DEBIAN_FRONTEND": ""}
    run([bare_path / "bash", empty_project, *flags], timeout=600, env=env)
    assert record.read_text().splitlines()[-1].endswith(f" --no-install-recommends {installed}")


def test_a_changed_lock_is_installed_once(empty_project: Path) -> None:
    project = empty_project.parents[1]
    first = run([empty_project, "--python"], timeout=600).stderr
    assert f"making {project}/.venv with Python 3." in first
    assert "installing the Python packages of requirements.lock" in first
    assert "nothing to do" in run([empty_project, "--python"], timeout=60).stderr
    (project / "requirements.lock").write_text("# changed\n")
    third = run([empty_project, "--python"], timeout=600).stderr
    assert "installing the Python packages" in third
    assert "making" not in third
    assert "nothing to do" in run([empty_project, "--python"], timeout=60).stderr


def test_a_part_of_what_is_installed_is_not_installed_again_and_what_is_more_is(empty_project: Path) -> None:
    project = empty_project.parents[1]
    run([empty_project, "--rehearsal"], timeout=600)
    assert "nothing to do" in run([empty_project, "--python"], timeout=60).stderr
    assert "packages of requirements-dev.lock" in run([empty_project, "--lint"], timeout=600).stderr
    for part in ("--python", "--rehearsal"):
        assert "nothing to do" in run([empty_project, part], timeout=60).stderr
    (project / "requirements.lock").write_text("# changed\n")
    assert "packages of requirements.lock" in run([empty_project, "--python"], timeout=600).stderr
    assert "packages of requirements-dev.lock" in run([empty_project, "--lint"], timeout=600).stderr


def test_where_the_system_has_no_pip_the_environment_gets_its_own(empty_project: Path, tmp_path: Path) -> None:
    python = empty_project.parents[1] / ".venv/bin/python"
    hidden = 'import sys\nif sys.prefix == sys.base_prefix:\n    sys.modules["pip"] = None\n'
    (tmp_path / "sitecustomize.py").write_text(hidden)
    run([empty_project, "--python"], timeout=600, env={"PYTHONPATH": str(tmp_path)})
    assert run([python, "-m", "pip", "--version"], timeout=60).stdout.startswith("pip ")


def test_a_broken_environment_is_made_anew(empty_project: Path) -> None:
    python = empty_project.parents[1] / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/nonexistent/python3")
    assert "making" in run([empty_project, "--python"], timeout=600).stderr
    assert run([python, "-c", "print('here')"], timeout=60).stdout == "here\n"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_names_no_index_and_has_a_digest_for_everything(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    assert not [line for line in lines if "://" in line or "--index" in line or "--find-links" in line]
    starts = [number for number, line in enumerate(lines) if "==" in line]
    assert starts
    assert all("--hash=sha256:" in lines[number + 1] for number in starts)


SHIMS = ("scripts/toolsmith-image", "build/build-image.sh", "scripts/validate.sh", "scripts/ensure-vm.sh")


@pytest.fixture
def strange_copy(tmp_path: Path) -> Path:
    """The shims in a folder whose name a shell would take apart, without an environment."""
    folder = tmp_path / "a folder, 'quoted' $HOME"
    for shim in (*SHIMS, "scripts/setup.sh"):
        (folder / shim).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / shim, folder / shim)
    return folder


@pytest.mark.parametrize("shim", SHIMS)
def test_a_shim_without_environment_says_in_one_line_what_to_run(strange_copy: Path, shim: str) -> None:
    (line,) = run([strange_copy / shim], timeout=60, ok=(3,)).stderr.splitlines()
    assert shlex.split(line.partition("run: ")[2]) == ["make", "-C", str(strange_copy), "setup"]


@pytest.mark.parametrize("shim", SHIMS)
def test_a_shim_works_from_any_folder_through_links_and_passes_its_arguments_and_exit_code_on(
    strange_copy: Path, tmp_path: Path, shim: str
) -> None:
    python = strange_copy / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/bash\nprintf "%s\\n" "$PYTHONPATH" "$@"\nexit 17\n')
    python.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/real").symlink_to(os.path.relpath(strange_copy / shim, tmp_path / "bin"))
    (tmp_path / "bin/of-ours").symlink_to(tmp_path / "bin/real")
    # The shorter ones lead to the one command, and are not linked to.
    start: str | Path = "of-ours" if shim.endswith("toolsmith-image") else strange_copy / shim
    env = {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": "elsewhere"}
    told = run(["env", os.fspath(start), "two words", ""], timeout=60, ok=(17,), cwd=tmp_path, env=env).stdout
    root, *argv = told.removesuffix("\n").split("\n")
    assert root == str(strange_copy)
    assert argv[:3] == ["-P", "-m", "ci"]
    assert argv[-2:] == ["two words", ""]


def test_the_one_command_is_not_fooled_by_the_folder_it_is_run_in(tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/__main__.py").write_text("raise SystemExit('fooled')")
    env = {"PYTHONPATH": os.fspath(tmp_path)}
    told = run([ROOT / "scripts/toolsmith-image", "validate", "--help"], timeout=60, cwd=tmp_path, env=env).stdout
    assert told.startswith("usage: toolsmith-image validate ")
    version = run([ROOT / "scripts/toolsmith-image", "--version"], timeout=60, cwd=tmp_path, env=env).stdout
    assert re.fullmatch(r"toolsmith-image \S+\n", version)
    wrong = run([ROOT / "scripts/toolsmith-image", "build", "--frobnicate"], timeout=60, cwd=tmp_path, ok=(2,))
    assert "--frobnicate" in wrong.stderr


@pytest.mark.parametrize("system", ["Debian", "another"])
def test_a_look_at_a_bare_machine_says_what_is_missing_and_installs_nothing(
    strange_copy: Path, bare_path: Path, tmp_path: Path, system: str
) -> None:
    record = tmp_path / "record"
    for name, body in FAKES.items() if system == "Debian" else ():
        (bare_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (bare_path / name).chmod(0o755)
    before = sorted(strange_copy.rglob("*"))
    env = {"PATH": str(bare_path), "RECORD": str(record), "DEBIAN_FRONTEND": ""}
    doctor = [os.fspath(bare_path / "bash"), os.fspath(strange_copy / "scripts/toolsmith-image"), "doctor"]
    told = run(doctor, timeout=60, ok=(3,), env=env).stderr
    assert ("missing: gpgv isc-dhcp-client" if system == "Debian" else "guestfish (Debian: guestfish)") in told
    assert " setup, which installs " in told
    assert not record.exists()
    assert sorted(strange_copy.rglob("*")) == before


def test_make_doctor_asks_for_nothing_to_be_installed() -> None:
    planned = run(["make", "--dry-run", "-C", ROOT, "doctor"], timeout=60).stdout
    assert "setup.sh" not in planned


@pytest.mark.parametrize("target", ["lint", "unit", "lock", "catalogue", "generated", "search", "rehearse"])
def test_what_needs_python_alone_asks_for_nothing_of_the_system(target: str) -> None:
    planned = run(["make", "--dry-run", "-C", ROOT, target], timeout=60).stdout
    assert set(re.findall(r"setup\.sh(.*)", planned)) <= {" --lint", " --python", " --rehearsal"}
    assert re.search(r"setup\.sh --", planned)


def test_the_python_environment_is_made_where_there_is_neither_apt_nor_a_gnu_tool(
    empty_project: Path, bare_path: Path
) -> None:
    (bare_path / "sha256sum").unlink()
    (bare_path / "python3").symlink_to(sys.executable)
    alone = {"PATH": str(bare_path)}
    for part in ("--python", "--lint"):
        made = run([bare_path / "bash", empty_project, part], timeout=600, env=alone)
        assert "installing the Python packages" in made.stderr
    assert "nothing to do" in run([bare_path / "bash", empty_project, "--lint"], timeout=60, env=alone).stderr


def test_make_without_a_target_shows_the_front_door() -> None:
    text = run(["make", "--no-print-directory", "-C", ROOT], timeout=60).stdout
    for target in ("setup", "demo", "rehearse", "image", "test", "catalogue", "doctor", "clean"):
        assert f"make {target} " in text


# The validator looks for what it needs only when it is used, so that no list of imports has it.
ALONE = """
import importlib, sys
sys.path[:0] = sys.argv[1:3]
for program in sys.argv[3:]:
    importlib.import_module(program)
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
assert JsonStrictValidator(SchemaVersion.V1_6).validate_str("{}") is not None
"""
STAGES = (
    "ci.build_image", "ci.validate_image", "ci.publish_release", "ci.propose_rollout", "ci.refresh_base",
    "ci.verify_release", "ci.build_catalogue",
)  # fmt: skip


def test_the_stages_start_with_the_shortest_lock_alone(tmp_path: Path) -> None:
    for name in re.findall(r"^([\w.-]+)==", (ROOT / LOCKS[0]).read_text(), re.MULTILINE):
        for file in distribution(name).files or ():
            entry = tmp_path / file.parts[0]
            if file.parts[0] != ".." and not entry.exists():
                entry.symlink_to(str(distribution(name).locate_file(file.parts[0])))
    # -I and -S: nothing of this folder, of the environment or of the system.
    run([sys.executable, "-I", "-S", "-c", ALONE, tmp_path, ROOT, *STAGES], timeout=60)
