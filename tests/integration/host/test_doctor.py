from pathlib import Path

import pytest

from ci.host.process import Completed, run
from ci.host.repository import ROOT
from tests.support.building import path_without

pytestmark = pytest.mark.integration


def doctor(*flags: str, env: dict[str, str] | None = None, ok: int = 0) -> Completed:
    wide = {"COLUMNS": "500"} | (env or {})
    return run([ROOT / "scripts/toolsmith-image", "doctor", *flags], timeout=600, cwd=ROOT, env=wide, ok=(ok,))


def row(completed: Completed, name: str) -> str:
    return next(line for line in completed.stderr.splitlines() if line.startswith(f"│ {name}"))


# Where libguestfs 1.48 asks a QEMU of such a path what it can, a piece of its command crosses the end of a buffer:
# "realloc(): invalid next size". What a QEMU can is kept in its cache, so that one is new here.
BAD_LENGTH = 93


def test_the_whole_examination_passes_here_with_one_start_of_the_appliance(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("d")
    folder /= "x" * (BAD_LENGTH - len(f"{folder}/"))
    folder.mkdir()
    completed = doctor(env={"TMPDIR": str(folder)})
    assert "This machine can build and boot images." in completed.stderr
    assert "│ ok " in row(completed, "appliance starts")


def test_without_guestfish_it_says_what_to_install(tmp_path: Path) -> None:
    completed = doctor("--quick", env={"PATH": path_without(tmp_path / "bin", "guestfish")}, ok=3)
    assert "not installed" in row(completed, "guestfish")
    assert "this machine lacks guestfish (not installed)" in completed.stderr
    assert "guestfish: make setup" in completed.stderr


def test_an_unreadable_kernel_is_found_before_the_appliance_is_tried(tmp_path: Path) -> None:
    completed = doctor(env={"SUPERMIN_KERNEL": str(tmp_path / "vmlinuz")}, ok=3)
    assert "cannot be read" in row(completed, "kernel for the appliance")
    assert "not tried" in row(completed, "appliance starts")


def test_an_appliance_that_cannot_start_shows_libguestfss_own_reason(tmp_path: Path) -> None:
    completed = doctor(env={"LIBGUESTFS_PATH": str(tmp_path), "LIBGUESTFS_CACHEDIR": str(tmp_path)}, ok=3)
    assert "MISSING" in row(completed, "appliance starts")
    assert "appliance starts: " in completed.stderr
    assert "libguestfs-test-tool" in completed.stderr


def test_an_examination_leaves_nothing_behind(tmp_path: Path) -> None:
    completed = doctor("--quick", env={"TOOLSMITH_CACHE": str(tmp_path / "new/cache"), "TOOLSMITH_ACCELERATOR": "tcg"})
    assert "disk space for the build" in completed.stderr
    assert list(tmp_path.iterdir()) == []
