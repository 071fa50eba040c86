"""Workspaces as they may be: changed meanwhile, shared by many runs, on full, read-only and other file systems."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ci.host.errors import HostError, ToolsmithError
from ci.host.open_folder import OpenFolder
from ci.host.process import run
from tests.support import consumer_model
from tests.support.consuming import FILE, IMAGE, Consumer, manifest
from tests.support.fault_server import FaultServer
from tests.support.hostile_workspace import BODY, FLAGS, PLACES, ROOT, Kind, Trap, link, no_hanging, pipe
from tests.support.killed_consumer import killed_before_change, run_at_once

pytestmark = pytest.mark.integration

PATH = f"/{FILE}"
VANISHING = ["own", "manifest", "source", "cache", "ignore", "name", "digest", "part", "sidecar", "image", "old digest"]
BECOMES: dict[str, Kind] = {"nothing": lambda _place, _outside: None, "a link": link, "a pipe": pipe}
STEP = 11


@pytest.fixture
def consumer(server: FaultServer, tmp_path: Path) -> Consumer:
    """A workspace whose manifest names an image on the server, and an older image in its cache."""
    result = Consumer(tmp_path / "workspace")
    result.write(manifest(server.publish(PATH, IMAGE), size=len(IMAGE)))
    old = result.cached(digest="a" * 64)
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    return result


def assert_done(consumer: Consumer) -> None:
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    assert consumer.files() == {".toolsmith/tools.json", str(consumer.cached().relative_to(consumer.workspace))}


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Another file system at `folder`."""
    if not ROOT:
        pytest.skip("only root mounts file systems")
    folder.mkdir(parents=True, exist_ok=True)
    done = run(["mount", "-t", "tmpfs", *options, "tmpfs", folder], timeout=60, ok=range(100))
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr}")
    try:
        yield
    finally:
        run(["umount", "--lazy", folder], timeout=60)


def meanwhile(monkeypatch: pytest.MonkeyPatch, number: int, happens: Callable[[], None]) -> list[int]:
    """Let something happen before use `number` of an open folder; how many uses there were so far."""
    uses = [0]
    real = OpenFolder._named  # what all of them go through

    def counted(self: OpenFolder, *arguments: Any) -> Any:  # noqa: ANN401
        uses[0] += 1
        if uses[0] == number:
            with suppress(FileNotFoundError):
                happens()
        return real(self, *arguments)

    monkeypatch.setattr(OpenFolder, "_named", counted)
    return uses


@pytest.mark.parametrize("becomes", BECOMES)
@pytest.mark.parametrize("place", VANISHING)
def test_what_vanishes_or_becomes_something_else_meanwhile_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, becomes: str
) -> None:
    # Not at the same moments for each, so that all together are at every one.
    for number in range(1 + (3 * VANISHING.index(place) + [*BECOMES].index(becomes)) % STEP, 200, STEP):
        with no_hanging(), monkeypatch.context() as patch:
            trap = Trap(tmp_path / str(number))
            at = trap.consumer.workspace / PLACES[place]

            def happens(trap: Trap = trap, at: Path = at) -> None:
                at.rename(trap.folder / "away")
                BECOMES[becomes](at, trap.outside)

            uses = meanwhile(patch, number, happens)
            with suppress(ToolsmithError):
                trap.consumer.run(*FLAGS)
            trap.assert_untouched()
        shutil.rmtree(trap.folder)
        if uses[0] < number:
            break
    else:
        pytest.fail("it never came to its end")
    assert number > 60


def test_of_twenty_runs_at_once_one_fetches(server: FaultServer, consumer: Consumer) -> None:
    assert run_at_once(20, consumer.workspace, FLAGS) == [0] * 20
    assert server.ranges(PATH) == [None]
    assert_done(consumer)


def test_after_a_hundred_kills_the_next_run_ends_well(consumer: Consumer) -> None:
    for number in range(100):
        killed_before_change(number % 20, consumer.workspace, FLAGS)
        if not number % 10:
            shutil.rmtree(consumer.cached().parent, ignore_errors=True)
    consumer.run(*FLAGS)
    assert_done(consumer)


@pytest.mark.parametrize("place", ["own", "cache", "name", "digest"])
def test_it_works_on_another_file_system(consumer: Consumer, place: str) -> None:
    at = consumer.workspace / PLACES[place].replace(PLACES["digest"], str(consumer.cached().parent))
    document = consumer.manifest.read_bytes()
    with mounted(at):
        consumer.write(document)
        consumer.run(*FLAGS)
        assert consumer_model.hydrate(consumer.workspace) == consumer.cached()


FILES = (
    "manifest",
    "image beside",
    "source",
    "ignore",
    "old lock",
    "image",
    "part",
    "sidecar",
    "old image",
    "left over",
)


@pytest.mark.parametrize("place", FILES)
def test_a_file_of_another_file_system_is_used_or_named(tmp_path: Path, place: str) -> None:
    """Such as one that a container has mounted: it can neither be renamed over nor removed."""
    trap = Trap(tmp_path)
    at, other = trap.consumer.workspace / PLACES[place], tmp_path / "other" / "file"
    with mounted(other.parent):
        other.write_bytes(at.read_bytes() if at.exists() else BODY[:50])
        before = other.read_bytes()
        at.parent.mkdir(parents=True, exist_ok=True)
        at.touch()
        run(["mount", "--bind", other, at], timeout=60)
        try:
            error = trap.run(*FLAGS)
        finally:
            run(["umount", "--lazy", at], timeout=60)
        assert other.read_bytes() == before
    assert (error is None) == (place in {"image beside", "source", "ignore", "old lock"})
    assert error is None or str(at) in error.message


def test_a_full_disk_is_told_and_not_made_fuller(consumer: Consumer) -> None:
    document = manifest(consumer_model.decode(consumer.manifest.read_bytes()).image.qcow2)  # without the size
    with mounted(consumer.workspace / PLACES["cache"], "-o", "size=2m"):
        consumer.write(document)
        with pytest.raises(HostError, match=r"no space left|MB free"):
            consumer.run(*FLAGS)
        (consumer.workspace / PLACES["cache"] / "file").write_bytes(bytes(1 << 20))
        assert not consumer.cached().parent.exists()


def test_a_disk_that_is_full_when_the_manifest_is_written_leaves_it_as_it_was(consumer: Consumer) -> None:
    document = consumer.manifest.read_bytes()
    with mounted(consumer.workspace / PLACES["own"], "-o", "size=4m"):
        consumer.write(document)
        consumer.run()
        with (consumer.manifest.parent / "fill").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        with pytest.raises(HostError, match="No space left"):
            consumer.run("--localize")
        assert consumer.manifest.read_bytes() == document
        assert {path.name for path in consumer.manifest.parent.iterdir()} == {"cache", "fill", "tools.json"}


def test_the_right_image_in_a_cache_that_is_read_only_will_do(consumer: Consumer) -> None:
    cache = consumer.workspace / PLACES["cache"]
    with mounted(cache):
        consumer.run()
        run(["mount", "-o", "remount,ro", cache], timeout=60)
        assert consumer.run("--localize")["written"] == str(consumer.manifest)
        assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
        os.truncate(consumer.manifest, 0)
        consumer.write(manifest(FILE, qcow2_sha256="b" * 64, qcow2_url=f"https://example.org/{FILE}"))
        with pytest.raises(HostError, match=r"cache.* cannot be used: Read-only file system"):
            consumer.run()
