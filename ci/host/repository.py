"""This repository: where its files are, and which commit they are of."""

import os
from dataclasses import dataclass
from pathlib import Path

from ci.host.errors import HostError, RefusedError, ToolError
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


def require_checkout(commit: str, what: str) -> None:
    """Raise RefusedError unless this is a clean checkout of `commit`, of which `what` must be."""
    revision = current_revision()
    if revision.dirty or revision.commit != commit:
        changed = " with changes that are in no commit" if revision.dirty else ""
        raise RefusedError(
            f"the images are of commit {commit}, this checkout is at {revision.commit}{changed}: "
            f"{what} must be of the images' commit",
            hint=f"Run it in a clean checkout of that commit: git worktree add FOLDER {commit}",
        )
