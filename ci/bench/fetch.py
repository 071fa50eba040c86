"""Measure the consumer's tool: a download against curl's with sha256sum behind it, and the look at what is there.

The server is on this machine and sends from the page cache, so that no network blurs the figures. Part of
`python -m ci.bench`.
"""

import asyncio
import json
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from ci.bench.record import FetchComparison
from ci.consume.cache import Cache
from ci.consume.wanted import MANIFEST
from ci.host.files import sha256_file
from ci.host.process import Argument, run
from ci.host.progress import Reporter
from ci.host.repository import ROOT

FILE_BYTES = 1 << 30
BLOCK = 1 << 20
SECONDS = 600
START_SECONDS = 30.0
FILE = "bench.qcow2"


def measure_fetch(folder: Path, repetitions: int, reporter: Reporter) -> FetchComparison:
    """Fetch a large file `repetitions` times with each, in turns, and look at it once more each time."""
    store, workspace = folder / "store", folder / "workspace"
    image, sha256 = _file(store / FILE)
    pipeline: list[float] = []
    ours: list[float] = []
    sha256sum: list[float] = []
    cached: list[float] = []
    peaks: list[int] = []
    with _serving(store) as url:
        _write_manifest(workspace, f"{url}/{FILE}", sha256)
        for number in range(1, repetitions + 1):
            with reporter.step(f"Fetch {number} of {repetitions}: curl and sha256sum"):
                pipeline.append(_pipeline(f"{url}/{FILE}", folder / "copy"))
            with reporter.step(f"Fetch {number} of {repetitions}: ours"):
                seconds, peak = _ensure_vm(workspace, folder / f"fetch-{number}.log")
            ours.append(seconds)
            peaks.append(peak)
            with reporter.step(f"What is there, {number} of {repetitions}: sha256sum"):
                sha256sum.append(run(["sha256sum", image], timeout=SECONDS).seconds)
            with reporter.step(f"What is there, {number} of {repetitions}: ours"):
                cached.append(_ensure_vm(workspace, folder / f"cached-{number}.log")[0])
            shutil.rmtree(Cache.of(workspace).folder)
    return FetchComparison(
        file_bytes=FILE_BYTES,
        pipeline=pipeline,
        ours=ours,
        sha256sum=sha256sum,
        cached=cached,
        peak_memory=max(peaks),
    )


def _pipeline(url: str, copy: Path) -> float:
    """Seconds that it takes to keep the file and to know its digest, with the tools that every machine has."""
    command = f"curl --silent --show-error --fail {shlex.quote(url)} | tee {shlex.quote(str(copy))} | sha256sum"
    seconds = run(["bash", "-o", "pipefail", "-c", command], timeout=SECONDS).seconds
    copy.unlink()
    return seconds


def _ensure_vm(workspace: Path, log: Path) -> tuple[float, int]:
    """Seconds of the whole process, its start included, and the most memory it held."""
    argv: list[Argument] = [sys.executable, "-m", "ci.ensure_vm", "--workspace", workspace, "--log", log]
    seconds = run(argv, cwd=ROOT, timeout=SECONDS, env={"NO_PROXY": "127.0.0.1"}).seconds
    peak = re.search(r"peak memory: (\d+) bytes", log.read_text(encoding="utf-8"))
    if peak is None:
        raise RuntimeError(f"ensure_vm does not tell its figures, see {log}")
    return seconds, int(peak[1])


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


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """A server of the folder's files, with ranges and ETags, that copies nothing through Python."""
    ready: Future[str] = Future()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        app = web.Application()
        app.router.add_static("/", folder)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            ready.set_result(f"http://127.0.0.1:{runner.addresses[0][1]}")
            await stop.wait()
        finally:
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        yield ready.result(START_SECONDS)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
