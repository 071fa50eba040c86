"""The catalogue of three rehearsed releases, served from this machine, and a browser to look at it."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ci import build_catalogue
from ci.host import cli
from ci.host.repository import ROOT
from ci.rehearsal.server import GitHubServer
from tests.support.browser import Browser, running_browser
from tests.support.rehearsed import rehearse
from tests.support.stage import FILES, Stage

# What the pages looked like, kept to be looked at.
PICTURES = ROOT / "dist/catalogue-pictures"


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`releases/` after three roll-outs were merged."""
    folder = tmp_path_factory.mktemp("rehearsed")
    with GitHubServer.start(folder / "github") as server:
        repository = server.create_repository("fountainkit-toolsmith-image", FILES)
        environ = {
            "GITHUB_API_URL": server.url,
            "GITHUB_SERVER_URL": server.url,
            "GITHUB_REPOSITORY": repository,
            "GITHUB_TOKEN": server.token,
        }
        return rehearse(Stage(server=server, repository=repository, folder=folder, environ=environ))


@pytest.fixture(scope="session")
def catalogue(releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the command made."""
    folder = tmp_path_factory.mktemp("catalogue")
    return build(releases, folder / "site", folder / "log")


def build(releases: Path, output: Path, log: Path) -> Path:
    argv = [f"--releases={releases}", f"--output={output}", f"--log={log}"]
    assert cli.run(build_catalogue.main, build_catalogue.arguments(), argv) == 0
    return output


@pytest.fixture(scope="module")
def site(catalogue: Path) -> Iterator[str]:
    """The address at which the folder is served."""
    with serving(catalogue) as url:
        yield url


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: Any) -> None:  # noqa: ANN401 - the base class's signature
        pass


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser for each module: it should be gone before others start machines."""
    with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser
