import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.machine import kept
from ci.machine.kept import ASKED_FOR, BLOCK, DEVICES, FILES, RECORD, Kept, UnusableError
from ci.machine.spec import DISK, MEMORY

FACTS = {"image": "0" * 64, "memory": "1024", "shares": "1", "QEMU": "7.2.22", "processor": "x"}


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "cache"))
    return kept.states_folder()


def make(states: Path, facts: dict[str, str] = FACTS) -> Kept:
    made = states / "made"
    made.mkdir(mode=0o700)
    for name in FILES:
        (made / name).write_bytes(name.encode() * BLOCK)
    return kept.keep(made, states, facts)


def sparse(path: Path, *pieces: tuple[int, bytes], size: int = 64 * BLOCK) -> Path:
    with path.open("wb") as file:
        for offset, data in pieces:
            file.seek(offset)
            file.write(data)
        file.truncate(size)
    return path


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return kept.digest_of(file)


def test_a_kept_state_is_found_again_and_whole(states: Path) -> None:
    state = make(states)
    assert kept.find(states, FACTS) == state
    assert state.verify(DEVICES) == DEVICES.encode() * BLOCK
    assert state.verify(MEMORY) == state.verify(DISK) == b""
    assert [path.stat().st_mode & 0o777 for path in [states, state.folder]] == [0o700] * 2
    assert {path.stat().st_mode & 0o777 for path in state.folder.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ASKED_FOR)
def test_each_machine_that_is_asked_for_has_a_state_of_its_own(states: Path, name: str) -> None:
    other = make(states)
    assert kept.find(states, FACTS | {name: "another"}) is None
    assert kept.find(states, FACTS) == other


@pytest.mark.parametrize("name", sorted(FACTS.keys() - set(ASKED_FOR)))
def test_a_state_of_other_circumstances_goes_and_the_reason_says_which(states: Path, name: str) -> None:
    state = make(states)
    with pytest.raises(UnusableError, match=f"^it is of another {name}$"):
        kept.find(states, FACTS | {name: "another"})
    assert not state.folder.exists()
    assert kept.find(states, FACTS) is None


def test_a_circumstance_that_is_new_or_gone_is_another() -> None:
    assert kept.difference({"QEMU": "7"}, {"CPU": "x", "QEMU": "7"}) == "another CPU"
    assert kept.difference({"CPU": "x", "QEMU": "7"}, {"QEMU": "8"}) == "another CPU and another QEMU"


def widen(state: Path) -> None:
    state.chmod(0o750)


def widen_record(state: Path) -> None:
    (state / RECORD).chmod(0o640)


def link_record(state: Path) -> None:
    (state / RECORD).rename(state / "elsewhere")
    (state / RECORD).symlink_to("elsewhere")


def pipe_record(state: Path) -> None:
    (state / RECORD).unlink()
    os.mkfifo(state / RECORD, 0o600)


def lose_record(state: Path) -> None:
    (state / RECORD).unlink()


def write(text: str) -> Callable[[Path], None]:
    def spoil(state: Path) -> None:
        (state / RECORD).write_text(text)

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        widen, widen_record, link_record, pipe_record, lose_record,
        write(""), write("[]"), write("{}"), write("[" * 100_000), write('{"facts": 1, "digests": {}}'),
        write(json.dumps({"facts": FACTS, "digests": {MEMORY: "0"}})),
    ],
)  # fmt: skip
def test_a_state_that_is_not_as_it_was_left_is_none(states: Path, spoil: Callable[[Path], None]) -> None:
    state = make(states)
    spoil(state.folder)
    with pytest.raises(UnusableError):
        kept.find(states, FACTS)
    assert not state.folder.exists()


def test_a_state_of_another_user_is_none(states: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = make(states)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UnusableError, match="belongs to another user"):
        kept.find(states, FACTS)
    with pytest.raises(UnusableError, match="belongs to another user"):
        kept.states_folder()
    assert not state.folder.exists()


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_short_or_altered_or_gone_or_a_link_is_not_what_was_kept(states: Path, name: str) -> None:
    state = make(states)
    path = state.folder / name
    whole = path.read_bytes()
    for spoiled in (whole[:-1], whole[:BLOCK], b"x" + whole[1:], whole + b"\0"):
        path.write_bytes(spoiled)
        with pytest.raises(UnusableError, match=f"its file {name} is not what was kept"):
            state.verify(name)
    path.write_bytes(whole)
    state.verify(name)
    path.rename(state.folder / "elsewhere")
    with pytest.raises(UnusableError, match=f"its file {name} cannot be read"):
        state.verify(name)
    path.symlink_to("elsewhere")
    with pytest.raises(UnusableError, match=f"its file {name} cannot be read"):
        state.verify(name)


def test_a_folder_that_others_may_enter_or_that_is_a_link_is_no_place_for_states(states: Path) -> None:
    states.chmod(0o755)
    with pytest.raises(UnusableError, match="not for its owner alone: mode 755"):
        kept.states_folder()
    states.rename(states.with_name("elsewhere"))
    states.symlink_to("elsewhere")
    with pytest.raises(UnusableError, match="is a link"):
        kept.states_folder()


def test_a_cache_that_cannot_be_made_is_no_place_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UnusableError, match="cannot be used"):
        kept.states_folder()


def test_a_new_state_takes_those_away_that_were_of_no_use_for_a_week(states: Path) -> None:
    used, unused = make(states), make(states, FACTS | {"image": "1" * 64})
    os.utime(unused.folder, (0, 0))
    os.utime(used.folder, (0, 0))
    kept.find(states, FACTS)
    new = make(states, FACTS | {"image": "2" * 64})
    assert sorted(states.iterdir()) == sorted([used.folder, new.folder])


def test_a_hole_is_as_good_as_zeros_and_data_is_what_it_is_at_its_place(tmp_path: Path) -> None:
    data = b"x" * 100
    one = sparse(tmp_path / "one", (0, data), (9 * BLOCK + 5, data))
    written = tmp_path / "written"
    written.write_bytes(one.read_bytes())
    assert digest(one) == digest(written)
    others = [
        sparse(tmp_path / "moved", (0, data), (9 * BLOCK + 6, data)),
        sparse(tmp_path / "block", (0, data), (10 * BLOCK + 5, data)),
        sparse(tmp_path / "less", (0, data)),
        sparse(tmp_path / "shorter", (0, data), (9 * BLOCK + 5, data), size=63 * BLOCK),
        sparse(tmp_path / "empty", size=0),
    ]
    assert len({digest(path) for path in [one, *others]}) == 1 + len(others)


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    pread = os.pread

    def counted(handle: int, size: int, offset: int) -> bytes:
        read.append(offset)
        return pread(handle, size, offset)

    path = sparse(tmp_path / "big", (1 << 30, b"x"), size=1 << 31)
    monkeypatch.setattr(os, "pread", counted)
    digest(path)
    assert len(read) < 64
