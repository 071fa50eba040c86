"""Builds that cannot work: each ends with its exit code, says what to do, and leaves nothing behind."""

import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ci import build_image
from ci.host import cli
from ci.host.accelerator import Acceleration
from ci.host.appliance import guestfish
from ci.host.errors import HostError
from ci.host.files import sha256_file
from ci.host.process import held_port, run
from ci.host.repository import BUILD, ROOT, Revision, current_revision
from tests.support.building import from_base, path_without
from tests.support.standin.base import IMAGE

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

LOCKS = {".lock", ".work-lock"}
SECTOR = 512
PARTITION_START = 2048
OS_RELEASE = 'ID={}\nVERSION_ID="{}"\n'

MakeDisk = Callable[..., Path]


class Try:
    """Builds in `folder`, and looks at what is left."""

    def __init__(self, folder: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.output = folder / "dist"
        self.keys = keys
        self.log = folder / "log"
        self._capsys = capsys

    def argv(self, *flags: str | Path) -> list[str]:
        flags = (
            "--image", IMAGE, "--accel", "tcg", "--authorized-keys", self.keys, "--output", self.output,
            "--log", self.log, *flags,
        )  # fmt: skip
        return [os.fspath(flag) for flag in flags]

    def __call__(self, *flags: str | Path) -> tuple[int, str]:
        """The exit code and everything said; fails where a file is left."""
        self._capsys.readouterr()
        code = cli.run(build_image.main, build_image.arguments(), self.argv(*flags))
        said = self._capsys.readouterr().err
        assert left_in(self.output) == set()
        assert "Traceback" not in said
        assert f"log:   {self.log}" in said
        return code, said


def left_in(output: Path) -> set[str]:
    return {path.name for path in output.iterdir()} - LOCKS if output.exists() else set()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IMAGE_VERSION", "BASE_IMAGE_URL", "BASE_IMAGE_SHA256", "AUTHORIZED_KEYS", "SUPERMIN_KERNEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOOLSMITH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def attempt(tmp_path: Path, identity: Path, capsys: pytest.CaptureFixture[str]) -> Try:
    return Try(tmp_path, Path(f"{identity}.pub"), capsys)


@pytest.fixture
def make_disk(tmp_path: Path) -> MakeDisk:
    """Makes disks with a partition per entry: a folder becomes an ext4 file system with its files, None stays empty."""

    def make(*partitions: Path | None, label: str = "gpt", mib: int = 16) -> Path:
        disk, table = tmp_path / "base.img", tmp_path / "table"
        sectors = (mib << 20) // SECTOR
        starts = [PARTITION_START + number * sectors for number in range(len(partitions))]
        lines = [f"{number} : start={start}, size={sectors}" for number, start in enumerate(starts, start=1)]
        table.write_text("\n".join([f"label: {label}", *lines]) + "\n")
        with disk.open("wb") as file:
            file.truncate((len(partitions) * mib + 4) << 20)
        run(["sfdisk", "--quiet", disk], stdin=table, timeout=60)
        for start, tree in zip(starts, partitions, strict=True):
            if tree:
                run(
                    ["mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E", f"offset={start * SECTOR}", disk,
                     f"{mib << 10}k"],
                    timeout=60,
                )  # fmt: skip
        return disk

    return make


def root_tree(folder: Path, distribution: str = "debian", version: str = "11") -> Path:
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "os-release").write_text(OS_RELEASE.format(distribution, version))
    return folder


class TestWhatAPersonGotWrong:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "No such file"),
            ("", "holds no key"),
            ("# a comment\n", "holds no key"),
            ("hello\n", "this is not a public key"),
        ],
    )
    def test_keys_that_open_nothing(self, attempt: Try, tmp_path: Path, content: str | None, message: str) -> None:
        attempt.keys = tmp_path / "keys"
        if content is not None:
            attempt.keys.write_text(content)
        code, said = attempt()
        assert code == 2
        assert message in said
        assert str(attempt.keys) in said

    def test_a_key_with_options_before_it(self, attempt: Try, tmp_path: Path) -> None:
        line = attempt.keys.read_text()
        attempt.keys = tmp_path / "keys"
        attempt.keys.write_text(f'command="id" {line}')
        code, said = attempt()
        assert code == 2
        assert "begins with options" in said

    def test_a_private_key_is_refused_and_not_repeated(self, attempt: Try, identity: Path) -> None:
        attempt.keys = identity
        code, said = attempt()
        assert code == 2
        assert "this is a private key" in said
        assert identity.read_text().splitlines()[1] not in said + attempt.log.read_text()

    @pytest.mark.parametrize("version", ["2026.11.23", "v2026.13.01", "latest", "v2026.11.23-rc1"])
    def test_a_malformed_version(self, attempt: Try, version: str) -> None:
        code, said = attempt("--version", version)
        assert code == 2
        assert f"'{version}' is not a version" in said
        assert "such as v2026.11.23" in said

    def test_an_unknown_image(self, attempt: Try) -> None:
        code, said = attempt("--image", "bulseye")
        assert code == 2
        assert "there is no image definition 'bulseye'; did you mean `bullseye`?" in said

    def test_a_misspelt_key_in_a_definition(
        self, attempt: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(BUILD, tmp_path / "build")
        definition = tmp_path / "build" / "images" / f"{IMAGE}.toml"
        definition.write_text(f"{definition.read_text()}[packages]\ninstal = []\n")
        monkeypatch.setattr(build_image, "BUILD", tmp_path / "build")
        code, said = attempt()
        assert code == 2
        assert "unknown key `packages.instal`; did you mean `install`?" in said
        assert str(definition) in said

    def test_a_release_of_an_image_that_is_not_for_releases(self, attempt: Try) -> None:
        code, said = attempt("--release")
        assert code == 2
        assert "not one that releases carry" in said

    def test_a_release_of_a_changed_checkout(
        self, attempt: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = tmp_path / "checkout"
        root.mkdir()
        git = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        run([*git, "init", "--quiet"], timeout=60)
        run([*git, "commit", "--quiet", "--allow-empty", "--message", "one"], timeout=60)
        commit = run([*git, "rev-parse", "HEAD"], timeout=60).stdout.strip()
        monkeypatch.setattr(build_image, "current_revision", lambda: current_revision(root))
        assert current_revision(root) == Revision(commit=commit, dirty=False)
        (root / "new").touch()
        code, said = attempt("--release", "--image", "jammy")
        assert code == 2
        assert "differs from its commit" in said


class TestBasesThatNobodyCanBuildUpon:
    def test_a_wrong_digest(self, attempt: Try, make_disk: MakeDisk) -> None:
        code, said = attempt("--base-url", make_disk(None).as_uri(), "--base-sha256", "0" * 64)
        assert code == 5
        assert "0" * 64 in said

    def test_one_that_is_not_there(self, attempt: Try, tmp_path: Path) -> None:
        code, _ = attempt("--base-url", (tmp_path / "none.img").as_uri(), "--base-sha256", "0" * 64)
        assert code == 4

    def test_one_that_is_no_disk(self, attempt: Try, tmp_path: Path) -> None:
        base = tmp_path / "base.img"
        base.write_bytes(b"hello\n" * 500)
        code, said = attempt(*from_base(base))
        assert code == 6
        assert "is not a disk image" in said

    def test_one_that_is_a_web_page(self, attempt: Try, tmp_path: Path) -> None:
        base = tmp_path / "base.img"
        base.write_bytes(b"<!DOCTYPE html>" * 500)
        code, said = attempt(*from_base(base))
        assert code == 4
        assert "a web page" in said

    def test_one_that_nothing_vouches_for_is_refused_unless_allowed(self, attempt: Try, tmp_path: Path) -> None:
        base = tmp_path / "base.img"
        base.write_bytes(b"no disk either, so that the build ends soon\n" * 20)
        code, said = attempt("--base-url", base.as_uri())
        assert code == 5
        assert "BASE_IMAGE_SHA256" in said
        assert "--allow-unverified-base" in said
        code, said = attempt("--base-url", base.as_uri(), "--allow-unverified-base")
        assert code == 6
        assert f"BASE_IMAGE_SHA256={sha256_file(base)}" in said

    def test_one_with_no_file_system(self, attempt: Try, make_disk: MakeDisk, tmp_path: Path) -> None:
        base = tmp_path / "base.qcow2"
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", make_disk(None), base], timeout=60)
        code, said = attempt(*from_base(base))
        assert code == 6
        assert "has no ext4 root file system (found: partition 1 unknown)" in said

    def test_one_with_no_system_on_it(self, attempt: Try, make_disk: MakeDisk, tmp_path: Path) -> None:
        (tmp_path / "tree" / "home").mkdir(parents=True)
        code, said = attempt(*from_base(make_disk(tmp_path / "tree")))
        assert code == 6
        assert "has no ext4 root file system (found: partition 1 ext4)" in said

    def test_one_whose_root_is_not_last(self, attempt: Try, make_disk: MakeDisk, tmp_path: Path) -> None:
        code, said = attempt(*from_base(make_disk(root_tree(tmp_path / "tree"), None)))
        assert code == 6
        assert "root is not its last partition" in said

    def test_one_with_an_mbr_table(self, attempt: Try, make_disk: MakeDisk, tmp_path: Path) -> None:
        code, said = attempt(*from_base(make_disk(root_tree(tmp_path / "tree"), label="dos")))
        assert code == 6
        assert "not GPT" in said

    def test_one_with_another_system_on_it_twice_at_once(
        self, attempt: Try, make_disk: MakeDisk, tmp_path: Path, identity: Path
    ) -> None:
        base = from_base(make_disk(root_tree(tmp_path / "tree", "ubuntu", "24.04")))
        argvs = [[*attempt.argv(*base), "--log", str(tmp_path / f"log-{number}")] for number in range(2)]
        results: dict[int, tuple[int, str]] = {}

        def build(number: int) -> None:
            completed = run(
                [sys.executable, "-m", "ci.build_image", *argvs[number]], cwd=ROOT, timeout=600, ok=tuple(range(256))
            )
            results[number] = completed.returncode, completed.stderr

        threads = [threading.Thread(target=build, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for number in range(2):
            code, said = results[number]
            assert code == 6, said
            assert "is ubuntu 24.04, the image definition expects debian 11" in said
        assert left_in(attempt.output) == set()
        assert identity.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system of its own")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], timeout=60, ok=tuple(range(256)))
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a file system")
    yield folder
    run(["umount", "--lazy", folder], timeout=60)  # a killed appliance may need a moment to end


class TestMachinesThatLackSomething:
    def test_a_full_disk(self, attempt: Try, small_disk: Path) -> None:
        attempt.output = small_disk / "dist"
        code, said = attempt()
        assert code == 3
        assert "disk space for the build" in said
        assert "--output" in said

    def test_a_disk_that_becomes_full_while_it_is_written_to(
        self, small_disk: Path, acceleration: Acceleration
    ) -> None:
        disk = small_disk / "disk.qcow2"
        run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "1G"], timeout=60)

        def write() -> None:
            with guestfish.session(disk, "qcow2", acceleration=acceleration, temporary=small_disk) as guest:
                guest.start()
                guest.command("mkfs", "ext4", "/dev/sda")
                guest.command("mount", "/dev/sda", "/")
                guest.command("fill", "7", "100000000", "/file")
                guest.command("sync")

        with pytest.raises(HostError, match="disk became full"):
            write()

    def test_no_guestfish(self, attempt: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", path_without(tmp_path / "bin", "guestfish"))
        code, said = attempt()
        assert code == 3
        assert "guestfish (not installed)" in said
        assert "make setup" in said

    def test_an_unreadable_kernel(self, attempt: Try, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SUPERMIN_KERNEL", "/nonexistent")
        code, said = attempt()
        assert code == 3
        assert "/nonexistent (SUPERMIN_KERNEL) cannot be read" in said
        assert "unset SUPERMIN_KERNEL" in said

    def test_an_appliance_that_does_not_start(
        self, attempt: Try, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        qemu = tmp_path / "qemu"
        script(qemu, 'case "$*" in *-kernel*) echo "qemu: no such luck" >&2; exit 1 ;; esac', 'exec "$real" "$@"')
        monkeypatch.setenv("LIBGUESTFS_HV", str(qemu))
        code, said = attempt(*from_base(base))
        assert code == 7
        assert "failed at `run`" in said
        assert "toolsmith-image doctor" in said

    def test_a_package_archive_out_of_reach(self, attempt: Try, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with held_port() as port:  # nobody listens there
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
            code, said = attempt(*from_base(base))
        assert code == 4
        assert "this machine does not reach the package archive" in said
        assert "http_proxy" in said


def script(path: Path, *lines: str, environment: Mapping[str, str] = os.environ) -> None:
    real = shutil.which("qemu-system-x86_64", path=environment["PATH"])
    path.write_text("\n".join(["#!/bin/sh", f"real={real}", *lines]) + "\n")
    path.chmod(0o755)
