import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from ci.host.errors import HostError
from ci.host.workspace import LOCK_NAME, WORK_PREFIX, cache_folder, exclusive, require_space, work_folder
from tests.support.hostile_workspace import Kind, dangling, folder, hard_link, link, no_hanging, pipe


def test_the_work_folder_is_gone_after_success_and_after_failure(tmp_path: Path) -> None:
    with work_folder(tmp_path) as folder:
        (folder / "part").write_text("x")
        assert folder.parent == tmp_path
    assert not folder.exists()
    with pytest.raises(KeyError), work_folder(tmp_path) as folder:
        raise KeyError
    assert not folder.exists()


def test_two_runs_at_once_have_a_folder_each_and_do_not_sweep_the_others(tmp_path: Path) -> None:
    with work_folder(tmp_path) as one:
        (one / "part").write_text("one")
        with work_folder(tmp_path) as other:
            assert one != other
            assert (one / "part").read_text() == "one"
        assert one.is_dir()


def test_what_a_killed_run_left_is_swept_by_the_next(tmp_path: Path) -> None:
    left = tmp_path / f"{WORK_PREFIX}dead"
    left.mkdir()
    (left / LOCK_NAME).touch()
    (left / "image.raw").write_text("x")
    kept = tmp_path / "image.qcow2"
    kept.touch()
    with work_folder(tmp_path):
        assert not left.exists()
        assert kept.exists()


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    lock = tmp_path / "new folder" / "lock"
    with pytest.raises(KeyError), exclusive(lock):
        raise KeyError
    with exclusive(lock):
        pass


def test_a_lock_file_is_not_emptied(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text("somebody's")
    with exclusive(lock):
        assert lock.read_text() == "somebody's"


@pytest.mark.parametrize("make", [link, dangling, hard_link, pipe, folder], ids=lambda kind: kind.__name__)
def test_what_is_no_file_of_ours_is_no_lock(tmp_path: Path, make: Kind) -> None:
    (tmp_path / "file").write_text("precious")
    make(tmp_path / "lock", tmp_path)
    with no_hanging(), pytest.raises(HostError, match="lock is in the way: it is a"), exclusive(tmp_path / "lock"):
        pass
    assert (tmp_path / "file").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


def test_where_there_are_no_locks_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(HostError, match="its file system has no locks"), exclusive(tmp_path / "lock"):
        pass


def test_a_folder_that_leads_elsewhere_is_not_swept(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "lock").mkdir(parents=True)
    parent = tmp_path / "parent"
    (parent / f"{WORK_PREFIX}dead").mkdir(parents=True)
    precious = elsewhere / "precious"
    precious.write_text("x")
    (parent / f"{WORK_PREFIX}dead" / LOCK_NAME).symlink_to(precious)
    (parent / f"{WORK_PREFIX}link").symlink_to(elsewhere)
    with work_folder(parent):
        pass
    assert precious.read_text() == "x"


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/fountainkit-toolsmith-image"
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "chosen"))
    assert cache_folder() == tmp_path / "chosen"


def test_too_little_space_is_told_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=10**9))
    require_space(tmp_path / "new", 10**9)
    with pytest.raises(HostError, match=r"1,000 MB free, 2,000 MB are needed") as caught:
        require_space(tmp_path, 2 * 10**9)
    assert caught.value.hint


def test_whoever_waits_for_another_run_says_so_meanwhile(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    said: list[str] = []
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        @contextmanager
        def waiting() -> Iterator[None]:
            said.append("waiting")
            fcntl.flock(other, fcntl.LOCK_UN)
            yield
            said.append("no more")

        with exclusive(lock, waiting):
            assert said == ["waiting", "no more"]
    with exclusive(lock, waiting):
        assert len(said) == 2
