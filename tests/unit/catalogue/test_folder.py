from pathlib import Path

import pytest

from ci.catalogue.folder import write_folder
from ci.host.errors import RefusedError

FILES = {"index.html": "page", "releases.json": "{}", "feed.xml": "feed"}


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_is_made(tmp_path: Path) -> None:
    write_folder(tmp_path / "new/site", FILES)
    assert content(tmp_path / "new/site") == FILES
    assert (tmp_path / "new/site").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["site"]


def test_an_older_catalogue_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "site", FILES | {"old.html": "old"})
    write_folder(tmp_path / "site", FILES | {"index.html": "newer"})
    assert content(tmp_path / "site") == FILES | {"index.html": "newer"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    write_folder(tmp_path / "site", FILES)
    assert content(tmp_path / "site") == FILES


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(RefusedError, match="something else than a catalogue"):
        write_folder(tmp_path, FILES)
    assert content(tmp_path) == {"index.html": "mine"}


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_is_no_folder_is_left_alone(tmp_path: Path, kind: str) -> None:
    output, target = tmp_path / "site", tmp_path / "target"
    if kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to(target)
    if kind == "link":
        target.mkdir()
    with pytest.raises(RefusedError, match="not a folder"):
        write_folder(output, FILES)
    assert output.is_symlink() or output.read_text() == "mine"


def test_where_the_new_one_cannot_take_its_place_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "site", FILES)
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "site", FILES | {"index.html": "newer"})
    assert content(tmp_path / "site") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
