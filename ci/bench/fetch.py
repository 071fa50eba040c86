"""Measure the consumer's tool: a download against curl's with sha256sum behind it, a look at what is there, its start.

The server is on this machine and sends from the page cache, so that no network blurs the figures. Part of
`toolsmith-image bench`.
"""

import functools
import json
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ci.bench.builds import BenchSubject
from ci.bench.record import Bounded, Compared, MeasuredPart, in_turns
from ci.consume.bundle import write_archive
from ci.consume.cache import FOLDER
from ci.consume.wanted import MANIFEST
from ci.host.files import sha256_file
from ci.host.process import Argument, run
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.host.workspace import work_folder

FILE_BYTES = 1 << 30
BLOCK = 1 << 20
SECONDS = 600
FILE = "bench.qcow2"


def measure_fetch(subject: BenchSubject, repetitions: int, reporter: Reporter) -> MeasuredPart:
    """Fetch a large file `repetitions` times with each, in turns, and look at it once more each time."""
    with work_folder(subject.folder) as folder:
        store, workspace, log = folder / "store", folder / "workspace", folder / "ensure-vm.log"
        image, sha256 = _file(store / FILE)

        def verified() -> float:
            seconds = _ensure_vm(workspace, log)
            shutil.rmtree(workspace / FOLDER)
            return seconds

        with _serving(store) as url:
            _write_manifest(workspace, f"{url}/{FILE}", sha256)
            ways: dict[str, Callable[[], float]] = {
                "a download, curl and sha256sum": lambda: _pipeline(f"{url}/{FILE}", folder / "copy"),
                "a download, ours": lambda: _ensure_vm(workspace, log),
                "what is there, sha256sum": lambda: run(["sha256sum", image], timeout=SECONDS).seconds,
                "what is there, ours": verified,
            }
            pipeline, ours, sha256sum, cached = in_turns(ways, repetitions, reporter).values()
        peak = peak_memory(log)
        tool = measure_tool(folder, repetitions, reporter)
    what_fetch = "download of 1 GiB (usual way: curl, sha256sum)"
    what_cached = "the same, already there (usual way: sha256sum)"
    return MeasuredPart(
        rows=[
            # At least 90 % of the rate of the usual way.
            Compared(what=what_fetch, usual=pipeline, ours=ours, target=1 / 0.9),
            Bounded(what="peak memory of downloading it", unit="bytes", ours=peak, target=100_000_000),
            Compared(what=what_cached, usual=sha256sum, ours=cached, target=1.0),
            *tool,
        ]
    )


def measure_tool(folder: Path, repetitions: int, reporter: Reporter) -> tuple[Bounded, Compared]:
    """The size of the consumer's tool in one file, and its start, which Python compiles anew each time."""
    tool = write_archive(ROOT, folder)

    def start(*arguments: Argument) -> float:
        return run([sys.executable, "-I", "-S", *arguments], timeout=SECONDS).seconds * 1000

    ways = {"a start, Python alone": lambda: start("-c", "pass"), "a start, ours": lambda: start(tool, "--help")}
    python, ours = in_turns(ways, repetitions, reporter).values()
    what = "start of ensure-vm.pyz, --help (usual way: python3 -c pass)"
    return (
        Bounded(what="size of ensure-vm.pyz", unit="bytes", ours=tool.stat().st_size, target=3_000_000),
        Compared(what=what, unit="milliseconds", usual=python, ours=ours, target=80.0),
    )


def _pipeline(url: str, copy: Path) -> float:
    """Seconds that it takes to keep the file and to know its digest, with the tools that every machine has."""
    command = f"curl --silent --show-error --fail {shlex.quote(url)} | tee {shlex.quote(str(copy))} | sha256sum"
    seconds = run(["bash", "-o", "pipefail", "-c", command], timeout=SECONDS).seconds
    copy.unlink()
    return seconds


def _ensure_vm(workspace: Path, log: Path) -> float:
    """Seconds of the whole process, its start included."""
    argv: list[Argument] = [sys.executable, "-m", "ci.ensure_vm", "--workspace", workspace, "--log", log]
    return run(argv, cwd=ROOT, timeout=SECONDS, env={"NO_PROXY": "127.0.0.1"}).seconds


def peak_memory(log: Path) -> int:
    """The most memory that any of the processes held that wrote the log."""
    return max(int(peak) for peak in re.findall(r"peak memory: (\d+) bytes", log.read_text(encoding="utf-8")))


def _file(path: Path) -> tuple[Path, str]:
    path.parent.mkdir(parents=True)
    block = bytes(range(256)) * (BLOCK // 256)
    with path.open("wb") as file:
        for number in range(FILE_BYTES // BLOCK):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path, sha256_file(path)


def _write_manifest(workspace: Path, url: str, sha256: str) -> None:
    image = {"name": "bench", "tarball": "", "sha256": "", "qcow2": url, "qcow2_sha256": sha256, "size": FILE_BYTES}
    path = workspace / MANIFEST
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"image": image, "tools": {}, "operations": []}), encoding="utf-8")


class _QuietHandler(SimpleHTTPRequestHandler):
    """Serves files without copying them through Python."""

    def copyfile(self, source: Any, outputfile: Any) -> None:  # noqa: ANN401 - as the base class has it
        del outputfile
        self.connection.sendfile(source)

    def log_message(self, *_: object) -> None:
        """A line for each request would stand between the steps."""


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
