"""A workspace that means harm: whatever lies at whichever path, nothing outside of it changes, and nothing hangs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.host.errors import HostError, ToolsmithError
from tests.support.consuming import FILE, NAME, manifest
from tests.support.hostile_workspace import (
    BODY,
    DIGEST,
    FLAGS,
    KINDS,
    PLACES,
    Kind,
    Trap,
    dangling,
    file,
    folder,
    link,
    no_hanging,
    pipe,
)


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    with no_hanging():
        yield Trap(tmp_path)


@pytest.mark.parametrize("make", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_whatever_lies_there_nothing_outside_changes(trap: Trap, place: str, make: Kind) -> None:
    trap.put(place, make)
    trap.run(*FLAGS)
    trap.run()


@pytest.mark.parametrize("make", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("place", ["part", "sidecar", "old lock", "ignore"])
def test_what_is_only_ours_is_replaced_or_not_needed(trap: Trap, place: str, make: Kind) -> None:
    trap.put(PLACES[place], make)
    error = trap.run(*FLAGS)
    if make is folder and place in {"part", "sidecar"}:
        assert error is not None
    else:
        assert error is None
        assert not trap.old.exists()


@pytest.mark.parametrize(
    ("place", "make", "words"),
    [
        ("cache", link, "may have come with the workspace"),
        ("cache", file, "it is a file, where a folder is needed"),
        ("name", link, "it is a link, where a folder is needed"),
        ("digest", dangling, "it is a link, where a folder is needed"),
        ("image", pipe, "it is a named pipe, where a file is needed"),
        ("image", folder, "it is a folder, where a file is needed"),
        ("part", folder, "it is a folder, where a file is needed"),
        ("own", file, "cannot be read: Not a directory"),
        ("own", link, "link to .*, which is not in the workspace"),
        ("manifest", pipe, "is not a file"),
        ("source", pipe, "is not a file"),
    ],
)
def test_the_error_says_what_is_where(trap: Trap, place: str, make: Kind, words: str) -> None:
    trap.put(PLACES[place], make)
    with pytest.raises(ToolsmithError, match=words) as caught:
        trap.consumer.run(*FLAGS)
    assert str(trap.consumer.workspace / PLACES[place]) in caught.value.message


@pytest.mark.parametrize("make", KINDS, ids=lambda kind: kind.__name__)
def test_what_lies_where_the_image_once_came_from_is_an_image_or_an_error(trap: Trap, make: Kind) -> None:
    store = trap.consumer.workspace / "store" / FILE
    trap.consumer.write(manifest(FILE, qcow2_sha256=DIGEST, qcow2_url=str(store)))
    trap.put("store/" + FILE, make)
    assert trap.run(*FLAGS) is not None


def test_an_images_folder_with_folders_in_it_is_not_pruned(trap: Trap) -> None:
    inner = trap.old.parent / "inner"
    inner.mkdir()
    assert trap.consumer.run("--prune")["removed"] == []
    assert inner.is_dir()
    assert "is left: it has folders in it" in trap.consumer.said.getvalue()


def test_the_cache_may_be_a_link_that_a_person_names(trap: Trap, tmp_path: Path) -> None:
    disk, cache = tmp_path / "disk", trap.consumer.workspace / PLACES["cache"]
    shutil.rmtree(cache)
    with pytest.raises(HostError, match="No such file"):
        trap.consumer.run("--cache", str(disk))
    disk.mkdir()
    assert trap.consumer.run("--cache", str(disk), *FLAGS)["state"] == "copied"
    assert cache.readlink() == disk
    assert (disk / NAME / DIGEST / FILE).read_bytes() == BODY
    assert trap.consumer.run("--cache", str(disk))["state"] == "cached"
    with pytest.raises(HostError, match="may have come with the workspace") as caught:
        trap.consumer.run()
    assert f"--cache {disk}" in caught.value.hint
    (tmp_path / "other").mkdir()
    with pytest.raises(HostError, match="is not a link to"):
        trap.consumer.run("--cache", str(tmp_path / "other"))
    assert list((tmp_path / "other").iterdir()) == []


def test_a_link_to_a_disk_that_is_not_mounted_says_so(trap: Trap, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.symlink_to(tmp_path / "not mounted")
    shutil.rmtree(trap.consumer.workspace / PLACES["cache"])
    with pytest.raises(HostError, match=r"link to .*not mounted, which is not there; is its disk mounted\?"):
        trap.consumer.run("--cache", str(disk))
    assert not (tmp_path / "not mounted").exists()


def test_git_does_not_see_the_cache(trap: Trap) -> None:
    trap.consumer.run()
    ignore = trap.consumer.workspace / PLACES["ignore"]
    assert ignore.read_text() == "*\n"
    ignore.write_text("mine")
    trap.consumer.run()
    assert ignore.read_text() == "mine"


def test_where_there_are_no_locks_it_works_and_says_so(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert trap.consumer.run(*FLAGS)["state"] == "copied"
    assert "has no locks" in trap.consumer.said.getvalue()
