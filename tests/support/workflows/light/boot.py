"""Stands in for the boots."""

import asyncio
from pathlib import Path

from ci.boot.all_boots import AllBoots, Capacity
from ci.boot.boot import Boot, BootSettings
from ci.boot.scenarios import all_scenarios
from ci.host.progress import Reporter
from ci.host.workspace import cache_folder
from ci.records.validation import CheckResult, Outcome


def _results(settings: BootSettings, folder: Path, outcome: Outcome) -> AllBoots:
    (folder / "full").mkdir()
    (folder / "full" / "full.console.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    boots = [
        Boot(
            scenario=scenario,
            settings=settings,
            folder=folder,
            login_prompt_seconds=1.0,
            ssh_seconds=20.0,
            total_seconds=30.0,
        )
        for scenario in all_scenarios(settings.memory_mib)
    ]
    checks = [
        CheckResult(id=one, boot="full", title=one, expected="x", actual="x", outcome=kind, seconds=0.1)
        for one, kind in (("image-json", Outcome.PASSED), ("root-locked", outcome))
    ]
    return AllBoots(boots=tuple(boots), checks=tuple(checks), acceleration=settings.acceleration)


async def passed(settings: BootSettings, folder: Path, reporter: Reporter, capacity: Capacity) -> AllBoots:
    del reporter, capacity
    return _results(settings, folder, Outcome.PASSED)


async def failed(settings: BootSettings, folder: Path, reporter: Reporter, capacity: Capacity) -> AllBoots:
    del reporter, capacity
    return _results(settings, folder, Outcome.FAILED)


async def endless(settings: BootSettings, folder: Path, reporter: Reporter, capacity: Capacity) -> AllBoots:
    """A guest that does not come up, for a run that is cancelled meanwhile."""
    del settings, folder, capacity
    reporter.note("waiting for the guest")
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def first_failed(settings: BootSettings, folder: Path, reporter: Reporter, capacity: Capacity) -> AllBoots:
    """A test that fails once."""
    del reporter, capacity
    failed_before = cache_folder() / "failed-before"
    if failed_before.exists():
        return _results(settings, folder, Outcome.PASSED)
    failed_before.touch()
    return _results(settings, folder, Outcome.FAILED)
