"""Stands in for the boots."""

import asyncio
from pathlib import Path

from ci.boot.boot import Bench
from ci.boot.report import Console
from ci.boot.run import Results
from ci.boot.side_by_side import Capacity
from ci.host.progress import Reporter
from ci.host.workspace import cache_folder
from ci.records.validation import BootResult, CheckResult, Outcome


def _results(folder: Path, outcome: Outcome) -> Results:
    names = ("full", "clone", "consumer", "seed")
    (folder / "full").mkdir()
    (folder / "full" / "console.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    boots = [
        BootResult(name=name, memory_mib=256, cpus=1, login_prompt_seconds=1.0, ssh_seconds=20.0, total_seconds=30.0)
        for name in names
    ]
    checks = [
        CheckResult(id=one, boot="full", title=one, expected="x", actual="x", outcome=kind, seconds=0.1)
        for one, kind in (("image-json", Outcome.PASSED), ("root-locked", outcome))
    ]
    return Results(boots=tuple(boots), checks=tuple(checks), consoles=(Console(boot="full", text="up"),), error=None)


async def passed(bench: Bench, folder: Path, reporter: Reporter, capacity: Capacity) -> Results:
    del bench, reporter, capacity
    return _results(folder, Outcome.PASSED)


async def failed(bench: Bench, folder: Path, reporter: Reporter, capacity: Capacity) -> Results:
    del bench, reporter, capacity
    return _results(folder, Outcome.FAILED)


async def endless(bench: Bench, folder: Path, reporter: Reporter, capacity: Capacity) -> Results:
    """A guest that does not come up, for a run that is cancelled meanwhile."""
    del bench, folder, capacity
    reporter.note("waiting for the guest")
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def first_failed(bench: Bench, folder: Path, reporter: Reporter, capacity: Capacity) -> Results:
    """A test that fails once."""
    del bench, reporter, capacity
    failed_before = cache_folder() / "failed-before"
    if failed_before.exists():
        return _results(folder, Outcome.PASSED)
    failed_before.touch()
    return _results(folder, Outcome.FAILED)
