"""What people put into a repository, made through emulate: the repository itself, commits, files."""

import base64
from collections.abc import Mapping
from urllib.parse import quote

from ci.rehearsal.emulator import Emulator
from ci.rehearsal.replies import Json

DEFAULT_BRANCH = "main"


async def make_repository(emulator: Emulator, name: str, files: Mapping[str, str], *, private: bool) -> str:
    """A repository whose default branch has one commit with these files; its full name."""
    made = await emulator.call("POST", "/user/repos", {"name": name, "private": private})
    full_name: str = made["full_name"]
    await add_commit(emulator, full_name, files, branch=DEFAULT_BRANCH, message="Begin", author=None)
    return full_name


async def add_commit(
    emulator: Emulator,
    repository: str,
    files: Mapping[str, str | None],
    *,
    branch: str,
    message: str,
    author: Mapping[str, str] | None,
) -> str:
    """Commit files, None for those to delete, to a branch; the commit's SHA."""
    git, head = f"/repos/{repository}/git", await emulator.branch_head(repository, branch)
    parent = head or await emulator.branch_head(repository, DEFAULT_BRANCH)
    tree: Json = {"tree": [_entry(path, text) for path, text in files.items()]}
    if parent is not None:
        tree["base_tree"] = (await emulator.call("GET", f"{git}/commits/{parent}"))["tree"]["sha"]
    made = await emulator.call("POST", f"{git}/trees", tree)
    commit: Json = {"message": message, "tree": made["sha"], "parents": [parent] if parent else []}
    if author:
        commit["author"] = commit["committer"] = dict(author)
    sha: str = (await emulator.call("POST", f"{git}/commits", commit))["sha"]
    if head is None:
        await emulator.call("POST", f"{git}/refs", {"ref": f"refs/heads/{branch}", "sha": sha})
    else:
        await emulator.call("PATCH", f"{git}/refs/heads/{quote(branch)}", {"sha": sha})
    return sha


async def read_file(emulator: Emulator, repository: str, path: str, ref: str) -> str | None:
    """The text of a file, None where there is none."""
    entry = await emulator.get(f"/repos/{repository}/contents/{quote(path)}", {"ref": ref})
    if entry is None:
        return None
    blob = await emulator.call("GET", f"/repos/{repository}/git/blobs/{entry['sha']}")
    return base64.b64decode(blob["content"]).decode()


def _entry(path: str, text: str | None) -> Json:
    content = {"sha": None} if text is None else {"content": text}
    return {"path": path, "mode": "100644", "type": "blob"} | content
