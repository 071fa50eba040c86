"""Where a suite's packages are looked for, with apt's own fetcher and archives that are there or are not."""

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from ci.host.errors import FetchError
from ci.host.process import held_port
from ci.image.base.suites import find_sources

pytestmark = pytest.mark.integration

SUITE = "longgone"  # no archive of this machine's has it


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[str]:
    """A server with an archive `/old` that has the suite and its updates, and one beside it for security."""
    for place in (f"old/dists/{SUITE}", f"old/dists/{SUITE}-updates", f"old-security/dists/{SUITE}-security"):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "InRelease").write_text("signed\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_suite_that_has_left_the_mirrors_is_found_where_old_ones_are(archives: str) -> None:
    assert find_sources(SUITE, [f"{archives}/mirror", f"{archives}/old"]) == [
        f"deb {archives}/old {SUITE} main",
        f"deb {archives}/old {SUITE}-updates main",
        f"deb {archives}/old-security {SUITE}-security main",
    ]


def test_where_none_has_it_each_is_named_with_its_reason(archives: str) -> None:
    with held_port() as port, pytest.raises(FetchError, match=f"no package archive has {SUITE}") as caught:
        find_sources(SUITE, [f"{archives}/mirror", f"http://127.0.0.1:{port}/debian"])
    missing, unreachable = caught.value.details.splitlines()[-2:]
    assert missing.startswith(f"{archives}/mirror/dists/{SUITE}/InRelease: ")
    assert "404  File not found" in missing
    assert unreachable.startswith(f"http://127.0.0.1:{port}/debian/dists/{SUITE}/InRelease: ")
    assert "Connection refused" in unreachable
    assert "archives" in caught.value.hint
