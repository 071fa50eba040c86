"""What several tests need: an image built the way a person does, a machine that lacks a program."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ci.host.files import sha256_file
from ci.host.process import run
from ci.host.repository import ROOT
from ci.records.build import BuildRecord
from ci.records.record import read_record
from tests.support.standin.base import IMAGE

VERSION = "v2026.11.23"
# What an image says of its time; without, it would be another one at each build.
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image, the base that it was made of, and the key that opens it."""

    image: Path
    record: BuildRecord
    base: Path
    identity: Path


def from_base(base: Path) -> list[str]:
    """The flags of a build upon a file of this machine."""
    return ["--base-url", base.as_uri(), "--base-sha256", sha256_file(base)]


def build(output: Path, base: Path, identity: Path, *flags: str, environment: dict[str, str] | None = None) -> Built:
    """Build as a person would, in a process of its own."""
    argv: list[str | os.PathLike[str]] = [
        sys.executable, "-m", "ci.build_image", "--image", IMAGE, "--version", VERSION, *from_base(base),
        "--authorized-keys", f"{identity}.pub", "--output", output, "--log", output / "build.log", *flags,
    ]  # fmt: skip
    run(argv, cwd=ROOT, env=environment, timeout=2400)
    return built_in(output, base, identity)


def built_in(output: Path, base: Path, identity: Path) -> Built:
    """What an earlier call of `build` made."""
    image = next(output.glob("*.qcow2"))
    record = read_record(next(output.glob("*.build.json")), BuildRecord)
    return Built(image=image, record=record, base=base, identity=identity)


def path_without(folder: Path, tool: str) -> str:
    """A PATH in which everything is found but `tool`: links to all other programs, in `folder`."""
    folder.mkdir()
    for place in ("/usr/local/bin", "/usr/bin", "/bin"):
        for program in Path(place).iterdir():
            link = folder / program.name
            if program.name != tool and not link.is_symlink():
                link.symlink_to(program)
    return os.fspath(folder)
