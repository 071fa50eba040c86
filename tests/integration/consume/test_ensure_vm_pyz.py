"""The consumer's tool in one file, on machines with nothing but Python."""

import os
import ssl
import sys
from pathlib import Path

import pytest

from ci.consume.bundle import archive, own_modules
from ci.host.process import Argument, Completed, run
from ci.host.repository import ROOT
from tests.support import consumer_model
from tests.support.certificates import self_signed
from tests.support.consuming import FILE, IMAGE, Consumer, manifest
from tests.support.fault_server import FaultServer
from tests.support.pythons import interpreter

pytestmark = pytest.mark.integration

PYTHONS = [sys.executable, *(f"python3.{minor}" for minor in range(10, 15))]
TOO_OLD = ["python2.7", *(f"python3.{minor}" for minor in range(6, 10))]


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elsewhere") / "ensure-vm.pyz"
    path.write_bytes(archive(ROOT))
    path.chmod(0o755)
    return path


def alone(python: str, pyz: Path, consumer: Consumer, *flags: str, **environ: str) -> Completed:
    """Run it isolated, without any installed package, from a folder that is not ours, with an empty environment."""
    argv: list[Argument] = [
        "env", "-i", f"PATH={os.defpath}", f"HOME={consumer.workspace}", f"TMPDIR={consumer.workspace.parent}",
        *(f"{name}={value}" for name, value in environ.items()),
        python, "-I", "-S", "-W", "error", pyz, "--workspace", consumer.workspace, *flags,
    ]  # fmt: skip
    return run(argv, timeout=120, cwd=consumer.workspace.parent, ok=range(20))


@pytest.mark.parametrize("python", PYTHONS)
def test_it_does_the_whole_job_without_this_repository(
    server: FaultServer, pyz: Path, tmp_path: Path, python: str
) -> None:
    program = interpreter(python)
    if program is None:
        pytest.skip(f"there is no {python} here")
    consumer = Consumer(tmp_path / "workspace")
    consumer.write(manifest(server.publish(f"/{FILE}", IMAGE), size=len(IMAGE)))
    done = alone(program, pyz, consumer, "--localize", "--prune")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{consumer.cached()}\n"
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("toolsmith-logs-")) == [
        "workspace"
    ]


@pytest.mark.parametrize("python", TOO_OLD)
def test_a_python_that_is_too_old_says_what_to_do(pyz: Path, python: str) -> None:
    program = interpreter(python)
    if program is None:
        pytest.skip(f"there is no {python} here")
    done = run([program, pyz, "--help"], timeout=60, ok=[3])
    error, hint = done.stderr.splitlines()
    assert error == f"error: ensure-vm needs Python 3.10 or later, this is {python.removeprefix('python')}"
    assert all(word in hint for word in ("next:", "brew install python", "curl and sha256sum"))
    assert done.stdout == ""


def test_it_verifies_servers_with_the_authorities_it_brings(pyz: Path, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with FaultServer(context) as server:
        consumer = Consumer(tmp_path / "workspace")
        consumer.write(manifest(server.publish(f"/{FILE}", IMAGE)))
        refused = alone(sys.executable, pyz, consumer)
        assert (refused.returncode, "certificate cannot be verified" in refused.stderr) == (4, True)
        assert alone(sys.executable, pyz, consumer, REQUESTS_CA_BUNDLE=str(certificate)).returncode == 0


def test_our_modules_in_it_keep_to_python_3_10() -> None:
    files = [path.relative_to(ROOT) for path in own_modules(ROOT)]
    run([sys.executable, "-m", "mypy", "--python-version", "3.10", "--no-incremental", *files], cwd=ROOT, timeout=300)
    lint = ["check", "--quiet", "--target-version", "py310", "--select", "E9,F,YTT"]
    run([sys.executable, "-m", "ruff", *lint, *files], cwd=ROOT, timeout=60)
