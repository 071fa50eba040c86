import hashlib
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host import files
from ci.host.files import CHUNK_BYTES, delayed_signals, open_file, publish_together, sha256_file, write_atomic
from tests.support.hostile_workspace import no_hanging


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_the_digest_is_right_at_every_size_and_the_progress_adds_up(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    path = tmp_path / "file"
    path.write_bytes(content[:size])
    told: list[int] = []
    assert sha256_file(path, told.append) == hashlib.sha256(content[:size]).hexdigest()
    assert sum(told) == size


@given(st.text() | st.binary())
def test_what_is_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, content: str | bytes) -> None:
    try:
        expected = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError:
        return
    path = tmp_path_factory.mktemp("atomic") / "new folder" / "file"
    write_atomic(path, content)
    assert path.read_bytes() == expected


def test_a_written_file_may_be_read_by_all(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def disk_full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_that_takes_the_place_of_a_file_meanwhile_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    real = os.open

    def swapped(name: str, flags: int) -> int:
        path.unlink()
        os.mkfifo(path)
        return real(name, flags)

    monkeypatch.setattr(os, "open", swapped)
    with no_hanging(), pytest.raises(OSError, match="it is not a file"):
        open_file(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/dev/tty"])
def test_a_device_is_not_even_opened(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "open")
    with pytest.raises(OSError, match="it is not a file"):
        open_file(Path(path))


def stage(folder: Path, **contents: str) -> list[Path]:
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]


def test_published_files_are_all_there(tmp_path: Path) -> None:
    staged = stage(tmp_path / "work", image="1", record="2")
    publish_together(staged, tmp_path, supersedes=[], last="record")
    assert (tmp_path / "image").read_text() == "1"
    assert (tmp_path / "record").read_text() == "2"
    assert not list((tmp_path / "work").iterdir())


def test_the_last_file_is_never_there_without_all_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = stage(tmp_path / "work", record="new", image="new", packages="new")
    old = [tmp_path / name for name in ("image", "record", "report")]
    for path in old:
        path.write_text("old")
    states: list[dict[str, str]] = []

    def look() -> None:
        states.append({path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()})

    unlink, rename = Path.unlink, Path.rename

    def watched_unlink(self: Path, *, missing_ok: bool = False) -> None:
        unlink(self, missing_ok=missing_ok)
        look()

    def watched_rename(self: Path, target: Path) -> Path:
        result = rename(self, target)
        look()
        return result

    monkeypatch.setattr(Path, "unlink", watched_unlink)
    monkeypatch.setattr(Path, "rename", watched_rename)
    publish_together(staged, tmp_path, supersedes=old, last="record")
    assert len(states) == 6
    for state in states:
        if "record" in state:
            assert state == {"image": "new", "record": "new", "packages": "new"}


def test_a_signal_is_delivered_after_the_block_and_not_before() -> None:
    arrived: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: arrived.append(number))
    try:
        with delayed_signals():
            signal.raise_signal(signal.SIGTERM)
            assert arrived == []
        assert arrived == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_hangup_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with delayed_signals():
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_nothing_is_moved_when_a_file_cannot_be_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    staged = stage(tmp_path / "work", image="new", record="new")
    old = tmp_path / "record"
    old.write_text("old")

    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sync", fail)
    with pytest.raises(OSError, match="Input/output"):
        publish_together(staged, tmp_path, supersedes=[old], last="record")
    assert old.read_text() == "old"
