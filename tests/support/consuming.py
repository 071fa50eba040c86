"""Workspaces of consumers, for tests: a manifest in its place, and the tool run on it in this process."""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ci import ensure_vm
from ci.host.progress import Reporter

IMAGE = hashlib.shake_256(b"an image").digest(3_000_000)
DIGEST = hashlib.sha256(IMAGE).hexdigest()
FILE = "fountainkit-toolsmith-ubuntu-2204-v2026.11.23.qcow2"
NAME = "fountainkit-toolsmith-ubuntu-2204"


def manifest(reference: object, **image: object) -> dict[str, Any]:
    """A manifest as a consumer may have it, with things of its own."""
    return {
        "owner": "the infrastructure team",
        "image": {"name": NAME, "tarball": "", "sha256": "", "qcow2": reference, "qcow2_sha256": DIGEST, **image},
        "tools": {"swift": "5.10"},
        "operations": ["build"],
    }


@dataclass
class Consumer:
    """A workspace. `said` is what a person would have seen so far, `slept` what was waited."""

    workspace: Path
    said: io.StringIO = field(default_factory=io.StringIO)
    slept: list[float] = field(default_factory=list)

    @property
    def manifest(self) -> Path:
        return self.workspace / ".toolsmith" / "tools.json"

    def write(self, document: object) -> bytes:
        data = document if isinstance(document, bytes) else json.dumps(document, indent=4).encode() + b"\n"
        self.manifest.parent.mkdir(parents=True, exist_ok=True)
        self.manifest.write_bytes(data)
        return data

    def cached(self, *, digest: str = DIGEST, name: str = NAME, file: str = FILE) -> Path:
        return self.workspace / ".toolsmith" / "cache" / name / digest / file

    def files(self) -> set[str]:
        """Everything in the workspace but folders that only hold others, and what keeps the cache out of git."""
        return {
            str(path.relative_to(self.workspace))
            for path in self.workspace.rglob("*")
            if (not path.is_dir() or not any(path.iterdir())) and path.name != ".gitignore"
        }

    def run(self, *flags: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What `--json` prints; raises what the tool raises."""
        options = ensure_vm.arguments().parse_args(["--workspace", str(self.workspace), "--json", *flags])
        reporter = Reporter(Console(file=self.said, width=400), in_actions=False)
        with redirect_stdout(io.StringIO()) as printed:
            ensure_vm.main(options, reporter, environ=environ or {}, sleep=self.slept.append)
        result: dict[str, Any] = json.loads(printed.getvalue())
        return result


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path, with its bytes; a link with where it leads; an empty folder with a slash."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}".encode()
        elif not path.is_dir():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[f"{name}/"] = b""
    return found


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make what `contents` tells, but for links."""
    for name, data in files.items():
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(data)
