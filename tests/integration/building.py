"""What several tests need: an image built the way a person does, a machine that lacks a program."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ci.host.process import run
from ci.host.repository import ROOT
from ci.records.build import BuildRecord
from ci.records.record import read_record

VERSION = "v2026.11.23"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An image and the key that opens it."""

    image: Path
    record: BuildRecord
    identity: Path


def build(output: Path, identity: Path, *flags: str, environment: dict[str, str] | None = None) -> Built:
    """Build as a person would, in a process of its own."""
    argv: list[str | os.PathLike[str]] = [
        sys.executable, "-m", "ci.build_image", "--image", "bookworm", "--version", VERSION,
        "--authorized-keys", f"{identity}.pub", "--output", output, "--log", output / "build.log", *flags,
    ]  # fmt: skip
    run(argv, cwd=ROOT, env=environment, timeout=2400)
    image = next(output.glob("*.qcow2"))
    return Built(image=image, record=read_record(next(output.glob("*.build.json")), BuildRecord), identity=identity)


def path_without(folder: Path, tool: str) -> str:
    """A PATH in which everything is found but `tool`: links to all other programs, in `folder`."""
    folder.mkdir()
    for place in ("/usr/local/bin", "/usr/bin", "/bin"):
        for program in Path(place).iterdir():
            link = folder / program.name
            if program.name != tool and not link.is_symlink():
                link.symlink_to(program)
    return os.fspath(folder)
