"""Builds that are ended from outside: whenever it happens, no half result, no stray process, and the next one works."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ci.host.repository import ROOT
from ci.host.workspace import work_folder
from tests.support.building import from_base
from tests.support.standin.base import IMAGE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

BOOTSTRAP = f"Bootstrapping {IMAGE}"
APPLIANCE = "Starting the libguestfs appliance"
PACKAGES = "Installing packages"
COMPRESSION = "Compressing the image"
LOCKS = {".lock", ".work-lock"}
INTERRUPTED = [
    (signal.SIGINT, APPLIANCE), (signal.SIGTERM, COMPRESSION),
    pytest.param(signal.SIGTERM, APPLIANCE, marks=pytest.mark.full),
    pytest.param(signal.SIGTERM, PACKAGES, marks=pytest.mark.full),
]  # fmt: skip

BUILD = """
import sys
from ci import build_image
from ci.host import cli
sys.exit(cli.run(build_image.main, build_image.arguments()))
"""
# What follows the appliance, without it.
COMPRESS_ONLY = f"""
from contextlib import nullcontext
from ci.host.appliance import guestfish
from ci.image.disk import layers
from ci.image import make_image as provisioning

class Guest:
    def start(self): ...
    def command(self, *_, **__): return ""

class Session:
    def __init__(self, *_): ...
    def install_packages(self): ...
    def finish(self, work): return None  # it does not come to that

guestfish.session = lambda *_, **__: nullcontext(Guest())
layers.LayerCache.store = lambda *_: None
provisioning._Session = Session
{BUILD}"""


def argv(output: Path, base: Path | None, identity: Path, script: str = BUILD) -> list[str]:
    return [
        sys.executable, "-c", script, "--image", IMAGE, "--accel", "tcg", "--no-cache",
        "--output", str(output), "--authorized-keys", f"{identity}.pub", "--log", str(output.parent / "log"),
        *(from_base(base) if base else ()),
    ]  # fmt: skip


@contextmanager
def building(
    output: Path, base: Path | None, identity: Path, stage: str, *, working_in: Path | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A build that has come as far as `stage`, with the tool running that it works with there."""
    tool = {BOOTSTRAP: "apt-get", COMPRESSION: "qemu-img"}.get(stage, "qemu-system")
    script = COMPRESS_ONLY if stage == COMPRESSION else BUILD
    process = subprocess.Popen(argv(output, base, identity, script), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if stage in line:
                break
        else:
            pytest.fail(f"the build never came to `{stage}`: {''.join(said)}")
        assert wait_for(lambda: any(tool in command for command in processes_of(working_in or output)))
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def processes_of(folder: Path) -> list[str]:
    """The commands of all processes that have to do with a work folder in `folder`."""
    mark, found = f"{folder}/.work-".encode(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if mark in command or mark in environment:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def left_in(output: Path) -> set[str]:
    return {path.name for path in output.iterdir()} - LOCKS


@pytest.mark.parametrize(("signum", "stage"), INTERRUPTED, ids=lambda value: str(value).split(".")[-1].split()[-1])
def test_an_interrupted_build_says_so_and_leaves_nothing(
    signum: signal.Signals, stage: str, base: Path, identity: Path, tmp_path: Path
) -> None:
    output = tmp_path / "dist"
    with building(output, base, identity, stage) as process:
        process.send_signal(signum)
        assert process.wait(60) == 128 + signum
        assert process.stderr is not None
        said = process.stderr.read()
    assert "interrupted" in said
    assert "Traceback" not in said
    assert left_in(output) == set()
    assert wait_for(lambda: processes_of(output) == []), processes_of(output)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_a_base_being_bootstrapped_leaves_neither_processes_nor_mounts(
    signum: signal.Signals, identity: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if signum == signal.SIGKILL and os.geteuid() != 0:
        pytest.skip("only for root is mmdebstrap run in namespaces that end with it")
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "bootstrap"
    with building(tmp_path / "dist", None, identity, BOOTSTRAP, working_in=folder) as process:
        process.send_signal(signum)
        assert process.wait(60) == (-signum if signum == signal.SIGKILL else 128 + signum)
    assert wait_for(lambda: processes_of(folder) == []), processes_of(folder)
    assert str(folder) not in Path("/proc/mounts").read_text()
    with work_folder(folder) as next_one:
        assert list(folder.glob(".work-*/")) == [next_one]
    assert list(folder.glob("*.qcow2")) == []


@pytest.mark.parametrize(
    "stage",
    [pytest.param(APPLIANCE, marks=pytest.mark.full), PACKAGES, COMPRESSION],
    ids=["appliance", "packages", "compression"],
)
def test_a_killed_build_takes_its_processes_along_and_the_next_one_clears_up(
    stage: str, base: Path, identity: Path, tmp_path: Path
) -> None:
    output = tmp_path / "dist"
    with building(output, base, identity, stage) as process:
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert wait_for(lambda: processes_of(output) == []), processes_of(output)
    assert all(name.startswith(".work-") for name in left_in(output))
    assert left_in(output) != set()

    with work_folder(output) as next_one:  # as the next build begins
        assert list(output.glob(".work-*/")) == [next_one]
    assert left_in(output) == set()
