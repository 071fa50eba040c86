from pathlib import Path

import pytest

from ci import clean
from ci.host.errors import RefusedError
from ci.host.workspace import in_use, work_folder
from tests.support.quiet import quiet_reporter


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    for name in ("layers/one.qcow2", "base/sha256/abc", "demo/id_ed25519", "kvm.json", "apt/lists/partial/x"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 5000)
    (folder / "link").symlink_to(tmp_path)
    monkeypatch.setenv("TOOLSMITH_CACHE", str(folder))
    return folder


def run(*flags: str) -> None:
    clean.main(clean.arguments().parse_args(flags), quiet_reporter())


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file() and "lock" not in path.name}


def test_without_the_flag_nothing_is_removed(cache: Path) -> None:
    before = files(cache)
    run()
    assert files(cache) == before


def test_the_cache_is_emptied_but_for_the_key_that_images_let_in(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    run("--cache")
    assert files(cache) - {".in-use"} == {"id_ed25519"}
    assert not (cache / "link").is_symlink()
    assert (tmp_path / "other").exists()


def test_beside_a_running_build_nothing_is_removed(cache: Path) -> None:
    before = files(cache)
    with in_use(cache), in_use(cache), pytest.raises(RefusedError, match="a build is using"):
        run("--cache")
    assert files(cache) == before | {".in-use"}


def test_the_folder_of_another_command_that_is_on_stays(cache: Path) -> None:
    with work_folder(cache / "rehearsal") as folder:
        (folder / "part").touch()
        run("--cache")
        assert (folder / "part").exists()


def test_sizes_are_what_is_taken_on_the_disk_and_links_are_not_followed(cache: Path) -> None:
    assert clean.disk_usage(cache / "layers") >= 5000
    assert clean.disk_usage(cache / "link") < 5000
    assert clean.disk_usage(cache / "not there") == 0


def test_no_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path / "none"))
    run("--cache")
    assert not (tmp_path / "none").exists()
