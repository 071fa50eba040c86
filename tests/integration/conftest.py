"""The heavy things, made once for all tests: a base like Ubuntu's, an image built from it, and a hostile base."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.demo import throwaway_key
from ci.host import qcow2
from ci.host.accelerator import Acceleration, probe
from ci.host.appliance import guestfish
from ci.host.repository import BUILD, ROOT
from ci.host.workspace import cache_folder, exclusive
from ci.image.base.bootstrap import bootstrap_base
from ci.image.definition import load_definition
from tests.support.building import EPOCH, Built, build, built_in
from tests.support.fault_server import FaultServer
from tests.support.quiet import quiet_reporter
from tests.support.signing import Signer, key_folder, make_signer
from tests.support.standin.base import make_standin


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A web server that fails as it is told; it is asked without a proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="session")
def acceleration() -> Acceleration:
    return probe("auto")


@pytest.fixture(scope="session")
def bookworm_base(acceleration: Acceleration) -> Path:
    bootstrap = load_definition("bookworm", BUILD / "images").base.bootstrap
    assert bootstrap is not None
    base = bootstrap_base(
        bootstrap,
        recipe=BUILD / "bootstrap",
        cache=cache_folder(),
        acceleration=acceleration,
        reporter=quiet_reporter(),
    )
    return base.path


@pytest.fixture(scope="session")
def base(acceleration: Acceleration) -> Path:
    """A base image that is stricter than Ubuntu 22.04's."""
    return make_standin(cache_folder(), acceleration, quiet_reporter()).path


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is made once, by whichever worker comes first."""
    own = tmp_path_factory.getbasetemp()  # with several workers, each has one in that of the whole run
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def identity(shared: Path) -> Path:
    return throwaway_key(shared / "key")


@pytest.fixture(scope="session")
def keys() -> Iterator[Path]:
    """Where OpenPGP keys are made."""
    with key_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def publisher(keys: Path) -> Signer:
    """Whose key is trusted."""
    return make_signer(keys / "publisher", "publisher")


@pytest.fixture(scope="session")
def stranger(keys: Path) -> Signer:
    """Whose key is not."""
    return make_signer(keys / "stranger", "stranger")


@pytest.fixture(scope="session")
def built(base: Path, identity: Path, shared: Path) -> Built:
    """An image with nothing of an earlier build in it; test_reproducible.py makes it once more."""
    output = shared / "dist"
    with exclusive(shared / "dist.lock"):
        if not output.exists():
            build(shared / "dist.part", base, identity, "--no-cache", environment=EPOCH)
            (shared / "dist.part").rename(output)
    return built_in(output, base, identity)


@pytest.fixture(scope="session")
def hostile_base(base: Path, acceleration: Acceleration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base with everything wrong that hostile.sh can think of, and all of its packages marked as wanted."""
    folder = tmp_path_factory.mktemp("hostile")
    disk, hostile = folder / "disk.qcow2", folder / "hostile.qcow2"
    qcow2.create_overlay(base, disk, qcow2.virtual_size(base))
    with guestfish.session(disk, "qcow2", acceleration=acceleration, temporary=folder) as guest:
        guest.start()
        guest.command("mount", "/dev/sda1", "/")
        guest.command("upload", ROOT / "tests/support/guest/hostile.sh", "/root/hostile.sh")
        code, output = guest.shell("sh /root/hostile.sh", timeout=acceleration.scaled(120))
        assert code == 0, output
        guest.command("rm-f", "/etc/resolv.conf")
        guest.command("write", "/etc/resolv.conf", "nameserver 192.0.2.53\n")
    qcow2.convert_compressed(disk, hostile)
    disk.unlink()
    return hostile
