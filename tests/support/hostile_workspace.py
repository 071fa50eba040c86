"""Workspaces that mean harm: what may lie at which of their paths."""

import hashlib
import json
import os
import shutil
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci.host.errors import ToolsmithError
from tests.support.consuming import FILE, NAME, Consumer, manifest

BODY = b"an image" * 100
DIGEST = hashlib.sha256(BODY).hexdigest()
OLD = "a" * 64
FLAGS = ("--localize", "--prune")
ROOT = os.geteuid() == 0
Kind = Callable[[Path, Path], None]
SECONDS = 60  # a pipe that is waited for never ends

PLACES = {
    "own": ".toolsmith",
    "manifest": ".toolsmith/tools.json",
    "image beside": f".toolsmith/{FILE}",
    "source": f".toolsmith/images/{FILE}",
    "cache": ".toolsmith/cache",
    "ignore": ".toolsmith/cache/.gitignore",
    "old lock": ".toolsmith/cache/.ensure-vm.lock",
    "name": f".toolsmith/cache/{NAME}",
    "digest": f".toolsmith/cache/{NAME}/{DIGEST}",
    "image": f".toolsmith/cache/{NAME}/{DIGEST}/{FILE}",
    "part": f".toolsmith/cache/{NAME}/{DIGEST}/{FILE}.part",
    "sidecar": f".toolsmith/cache/{NAME}/{DIGEST}/{FILE}.part.json",
    "old digest": f".toolsmith/cache/{NAME}/{OLD}",
    "old image": f".toolsmith/cache/{NAME}/{OLD}/{FILE}",
    "left over": f".toolsmith/.tools.json.0{'0' * 15}.unfinished",
}


def link(place: Path, outside: Path) -> None:
    place.symlink_to(outside / ("folder" if place.name in {"cache", NAME, DIGEST, OLD, ".toolsmith"} else "file"))


def dangling(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "nothing")


def hard_link(place: Path, outside: Path) -> None:
    place.hardlink_to(outside / "file")


def pipe(place: Path, _outside: Path) -> None:
    os.mkfifo(place)


def device(place: Path, _outside: Path) -> None:
    if not ROOT:
        pytest.skip("only root makes devices")
    os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def unix_socket(place: Path, _outside: Path) -> None:
    here = Path.cwd()
    os.chdir(place.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
        Path("s").rename(place.name)
    finally:
        os.chdir(here)


def folder(place: Path, _outside: Path) -> None:
    (place / "inner").mkdir(parents=True)


def file(place: Path, _outside: Path) -> None:
    place.write_bytes(b"something")


def others(place: Path, _outside: Path) -> None:
    if not ROOT:
        pytest.skip("only root gives files away")
    place.write_bytes(BODY[:100])
    os.chown(place, 12345, 12345)


KINDS: tuple[Kind, ...] = (link, dangling, hard_link, pipe, device, unix_socket, folder, file, others)


@dataclass
class Trap:
    """A workspace that has the image beside its manifest, and what is outside of it, which no run may change."""

    folder: Path
    consumer: Consumer = field(init=False)
    before: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        self.consumer = Consumer(self.folder / "workspace")
        document = manifest(f"images/{FILE}", qcow2_sha256=DIGEST)
        self.consumer.write(document)
        beside = self.consumer.manifest.parent / "images" / FILE
        victim = self.outside / "folder" / NAME / OLD / FILE
        begun = self.image.with_name(f"{FILE}.part")
        for path in (beside, self.old, begun, victim):
            path.parent.mkdir(parents=True)
        (self.outside / "folder" / OLD).mkdir()
        beside.write_bytes(BODY)
        for path in (self.old, begun, victim, self.outside / "file"):
            path.write_bytes(BODY[:50])
        (self.outside / "folder" / "tools.json").write_text(json.dumps(document))
        self.before = self._picture()

    @property
    def outside(self) -> Path:
        return self.folder / "outside"

    @property
    def image(self) -> Path:
        return self.consumer.cached(digest=DIGEST)

    @property
    def old(self) -> Path:
        return self.consumer.cached(digest=OLD)

    def put(self, place: str, make: Kind) -> None:
        """Something else in the place of what is there."""
        at = self.consumer.workspace / place
        if at.is_dir():
            shutil.rmtree(at)
        at.unlink(missing_ok=True)
        at.parent.mkdir(parents=True, exist_ok=True)
        make(at, self.outside)

    def run(self, *flags: str) -> ToolsmithError | None:
        """The image is in its place, or the error says which path is in the way; nothing outside changed."""
        error = None
        try:
            self.consumer.run(*flags)
        except ToolsmithError as told:
            error = told
        self.assert_untouched()
        if error is None:
            assert self.image.read_bytes() == BODY
            assert not self.image.is_symlink()
        else:
            assert str(self.consumer.workspace) in error.message or FILE in error.message
            assert error.hint
        return error

    def assert_untouched(self) -> None:
        """Nothing outside of the workspace changed."""
        assert self._picture() == self.before

    def _picture(self) -> dict[str, object]:
        root = self.outside
        return {
            str(path.relative_to(root)): (
                path.lstat().st_mode,
                path.lstat().st_ino,
                path.lstat().st_mtime_ns,
                path.read_bytes() if path.is_file() else None,
            )
            for path in [root, *root.rglob("*")]
        }


@contextmanager
def no_hanging() -> Iterator[None]:
    """A failure where something takes as long as only waiting for ever does."""

    def fail(*_: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
