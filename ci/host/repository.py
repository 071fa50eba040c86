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
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changes = _git(root, "status", "--porcelain")
    except (ToolError, HostError):
        return Revision(commit=UNKNOWN_COMMIT, dirty=True)
    return Revision(commit=commit, dirty=bool(changes))


def described(root: Path = ROOT) -> str:
    """This checkout in git's words: the release before it and the commit, as in v2026.11.23-4-g1234567890ab-dirty."""
    try:
        return _git(root, "describe", "--tags", "--match", "v*", "--always", "--dirty", "--abbrev=12")
    except (ToolError, HostError):
        return UNKNOWN_COMMIT


def _git(root: Path, *argv: str) -> str:
    return run(["git", "-c", f"safe.directory={root}", "-C", os.fspath(root), *argv], timeout=60).stdout.strip()


def require_checkout(revision: Revision, commit: str, what: str) -> None:
    """Raise RefusedError unless a clean checkout of `commit` is what is here, of which `what` must be."""
    if revision.dirty or revision.commit != commit:
        changed = " with changes that are in no commit" if revision.dirty else ""
        raise RefusedError(
            f"the images are of commit {commit}, this checkout is at {revision.commit}{changed}: "
            f"{what} must be of the images' commit",
            hint=f"Run it in a clean checkout of that commit: git worktree add FOLDER {commit}",
        )
