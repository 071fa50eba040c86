"""This repository: where its files are, and which commit they are of."""

import os
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import HostError, ToolError
from ci.host.process import run

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"  # what decides how an image is built
UNKNOWN_COMMIT = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """The commit that is checked out; `dirty` when files differ from it, or when there is no telling."""

    commit: str
    dirty: bool


def current_revision(root: Path = ROOT) -> Revision:
    """The revision of this checkout; an archive without git's data is an unknown, dirty one."""
    git = ["git", "-c", f"safe.directory={root}", "-C", os.fspath(root)]
    try:
        commit = run([*git, "rev-parse", "HEAD"], timeout=30).stdout.strip()
        changes = run([*git, "status", "--porcelain"], timeout=60).stdout.strip()
    except (ToolError, HostError):
        return Revision(commit=UNKNOWN_COMMIT, dirty=True)
    return Revision(commit=commit, dirty=bool(changes))
