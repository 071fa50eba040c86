"""The composite action's script, run as the runner would in a consumer's repository."""

import os
import subprocess
from pathlib import Path

import pytest

from ci.host.repository import ROOT
from tests.support import consumer_model
from tests.support.consuming import DIGEST, FILE, IMAGE, Consumer, manifest
from tests.support.fault_server import FaultServer
from tests.support.workflows.shell import Files

pytestmark = pytest.mark.integration

ACTION = ROOT / ".github" / "actions" / "ensure-vm"


def step(consumer: Consumer, temporary: Path, *flags: str, **inputs: str) -> dict[str, str]:
    """Run the script in the consumer's checkout; what it hands on."""
    files = Files(folder=temporary)
    environment = (
        dict(os.environ) | files.environment() | inputs | {"RUNNER_TEMP": str(temporary), "NO_PROXY": "127.0.0.1"}
    )
    command = [str(ACTION / "ensure-vm.sh"), *flags]
    done = subprocess.run(
        command, cwd=consumer.workspace, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return files.values("OUTPUT")


def test_it_tells_what_to_cache_and_then_provides_it(server: FaultServer, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    consumer = Consumer(tmp_path / "checkout")
    consumer.write(manifest(server.publish(f"/{FILE}", IMAGE), version="v2026.11.23"))
    for name in ("ci", "requests"):  # what the consumer's repository has must not be taken for ours
        (consumer.workspace / name).mkdir()
        (consumer.workspace / name / "__init__.py").write_text("raise SystemExit('not this one')\n")
    where = step(consumer, temporary, "--where")
    assert (where["folder"], where["sha256"]) == (str(consumer.cached().parent), DIGEST)
    assert where["state"] == "absent"
    got = step(consumer, temporary, LOCALIZE="true", PIP_NO_INDEX="1")  # the libraries are there already
    assert (got["state"], got["path"], got["version"]) == ("downloaded", str(consumer.cached()), "v2026.11.23")
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    again = step(consumer, temporary, WORKSPACE=str(consumer.workspace), MANIFEST=str(consumer.manifest))
    assert again["state"] == "cached"


def test_a_consumer_runs_our_script_from_its_own_folder(server: FaultServer, tmp_path: Path) -> None:
    consumer = Consumer(tmp_path)
    consumer.write(manifest(server.publish(f"/{FILE}", IMAGE)))
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci" / "__init__.py").write_text("raise SystemExit('not this one')\n")
    done = subprocess.run(
        [ROOT / "scripts" / "ensure-vm.sh"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, f"{consumer.cached()}\n"), done.stderr
