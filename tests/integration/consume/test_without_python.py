"""What docs/consuming.md gives those who have no Python: run as it stands there, but for its three values."""

import re
from pathlib import Path

import pytest

from ci.host.process import Completed, run
from ci.host.repository import ROOT
from tests.support import consumer_model
from tests.support.consuming import DIGEST, FILE, IMAGE, NAME, Consumer, manifest
from tests.support.fault_server import Fault, FaultServer

pytestmark = pytest.mark.integration

PATH = f"/releases/download/v2026.11.23/{FILE}"
TEXT = (ROOT / "docs" / "consuming.md").read_text(encoding="utf-8")
BLOCK = TEXT.partition("### Without Python\n")[2].partition("```sh\n")[2].partition("```")[0]


@pytest.fixture(params=["sh", "bash"])  # zsh and busybox were tried by hand
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def consumer(server: FaultServer, tmp_path: Path) -> Consumer:
    """A workspace in a folder with a space in its name, with a manifest of the form `file`."""
    result = Consumer(tmp_path / "my workspace")
    result.write(manifest(FILE, qcow2_url=server.publish(PATH, IMAGE)))
    return result


def without_python(shell: str, consumer: Consumer, server: FaultServer, path: str = "") -> Completed:
    script = BLOCK
    for variable, value in {"name": NAME, "sha256": DIGEST, "url": server.url(PATH)}.items():
        script, times = re.subn(rf"^{variable}=.*$", f"{variable}={value}", script, flags=re.MULTILINE)
        assert times == 1
    environment = {"NO_PROXY": "127.0.0.1"} | ({"PATH": path} if path else {})
    return run([shell, "-c", script], cwd=consumer.workspace, timeout=60, env=environment, ok=range(128))


def left(consumer: Consumer) -> set[str]:
    return {path.name for path in consumer.workspace.rglob("*") if path.is_file()} - {"tools.json"}


def test_the_image_is_where_the_real_client_looks(shell: str, consumer: Consumer, server: FaultServer) -> None:
    done = without_python(shell, consumer, server)
    assert (done.returncode, done.stdout) == (0, f"{consumer.cached().relative_to(consumer.workspace)}\n")
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    assert consumer.run()["state"] == "cached"
    assert left(consumer) == {FILE, ".gitignore"}


def test_wrong_bytes_never_have_the_name(shell: str, consumer: Consumer, server: FaultServer) -> None:
    server.publish(PATH, b"<html>" + IMAGE)
    done = without_python(shell, consumer, server)
    assert done.returncode
    assert "is not what the manifest promises" in done.stderr
    assert left(consumer) == set()
    server.publish(PATH, IMAGE)
    server.arm(PATH, Fault(status=404))
    assert without_python(shell, consumer, server).returncode == 22  # curl's, of an answer that is an error
    assert left(consumer) == set()


def test_what_breaks_off_is_continued(shell: str, consumer: Consumer, server: FaultServer) -> None:
    half = len(IMAGE) // 2
    server.arm(PATH, Fault(cut_after=half))
    assert without_python(shell, consumer, server).returncode == 18  # curl's, of a part
    assert left(consumer) == {f"{FILE}.curl"}
    assert without_python(shell, consumer, server).returncode == 0
    assert server.ranges(PATH) == [None, f"bytes={half}-"]
    assert consumer.cached().read_bytes() == IMAGE


def test_a_mac_has_another_tool_for_digests(consumer: Consumer, server: FaultServer, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("curl", "cut", "mkdir", "mv", "rm", "shasum", "perl"):
        (tools / name).symlink_to(run(["sh", "-c", f"command -v {name}"], timeout=10).stdout.strip())
    assert without_python("/bin/sh", consumer, server, str(tools)).returncode == 0
    assert consumer.cached().read_bytes() == IMAGE
