import io
import os
import tarfile
from pathlib import Path

import pytest

from ci.image.guest_files import write_tar

MTIME = 1_700_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "guest"
    for name, mode in {
        "etc/sudoers": 0o664,
        "etc/sudoers.d/90-ours": 0o666,
        "etc/hosts": 0o600,
        "usr/lib/tool/run": 0o775,
        "etc/sudoers.d.bak/old": 0o644,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
        path.chmod(mode)
    return root


def pack(folder: Path, target: Path, extra: dict[str, bytes] | None = None) -> dict[str, tarfile.TarInfo]:
    write_tar(target, folder, extra or {}, mtime=MTIME)
    with tarfile.open(target) as archive:
        return {entry.name: entry for entry in archive}


def test_every_entry_belongs_to_root_and_has_the_time_given(folder: Path, tmp_path: Path) -> None:
    entries = pack(folder, tmp_path / "a.tar", {"etc/ours/image.json": b"{}"})
    assert len(entries) > 6
    for entry in entries.values():
        assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "root", "root", MTIME)


def test_the_modes_are_the_guests_not_those_of_the_checkout(folder: Path, tmp_path: Path) -> None:
    entries = pack(folder, tmp_path / "a.tar", {"etc/ours/image.json": b"{}"})
    assert {name: oct(entry.mode) for name, entry in entries.items() if entry.isfile()} == {
        "etc/sudoers": "0o440",
        "etc/sudoers.d/90-ours": "0o440",
        "etc/hosts": "0o644",
        "etc/sudoers.d.bak/old": "0o644",
        "usr/lib/tool/run": "0o755",
        "etc/ours/image.json": "0o644",
    }
    assert {oct(entry.mode) for entry in entries.values() if entry.isdir()} == {"0o755"}


def test_each_folder_comes_once_and_before_what_it_holds(folder: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", folder, {"etc/ours/deep/image.json": b"{}"}, mtime=MTIME)
    with tarfile.open(tmp_path / "a.tar") as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    for position, name in enumerate(names):
        parent = str(Path(name).parent)
        assert parent == "." or parent in names[:position]


def test_contents_survive_whatever_bytes_they_are(folder: Path, tmp_path: Path) -> None:
    binary = bytes(range(256)) * 10
    (folder / "etc" / "hosts").write_bytes(binary)
    pack(folder, tmp_path / "a.tar", {"etc/ours": binary[::-1]})
    with tarfile.open(tmp_path / "a.tar") as archive:
        contents = {name: archive.extractfile(name) or io.BytesIO() for name in ("etc/hosts", "etc/ours")}
        assert contents["etc/hosts"].read() == binary
        assert contents["etc/ours"].read() == binary[::-1]


def test_the_same_files_make_the_same_bytes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(folder, tmp_path / "a.tar", {"b": b"2", "a": b"1"})
    elsewhere = tmp_path / "elsewhere"
    for path in sorted(folder.rglob("*"), reverse=True):  # made in another order, at another time
        if path.is_file():
            copy = elsewhere / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o755 if path.name == "run" else 0o600)
            os.utime(copy, (1, 1))
    rglob = Path.rglob  # a file system lists its files in any order
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: sorted(rglob(self, pattern), reverse=True))
    pack(elsewhere, tmp_path / "b.tar", {"a": b"1", "b": b"2"})
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
