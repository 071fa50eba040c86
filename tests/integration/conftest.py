"""The heavy things, made once for all tests: a hostile base like Ubuntu's, and an image built from it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.demo import throwaway_key
from ci.host.accelerator import Acceleration, probe
from ci.host.workspace import cache_folder, exclusive
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
def base(acceleration: Acceleration) -> Path:
    """A base image that is stricter than Ubuntu 22.04's, and has everything wrong."""
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
    """An image with nothing of an earlier build in it; workflows/test_real_release.py makes it once more."""
    output = shared / "dist"
    with exclusive(shared / "dist.lock"):
        if not output.exists():
            build(shared / "dist.part", base, identity, "--no-cache", environment=EPOCH)
            (shared / "dist.part").rename(output)
    return built_in(output, base, identity)
