"""Which writes take the permission `workflows` besides `contents`: those that bring another workflow.

"If the resolved target commit (the new value of target_commitish if you are changing it, otherwise the existing
target) adds or modifies any file under .github/workflows/ relative to the repository's default branch, the
authenticating token must be authorized to modify workflows": https://docs.github.com/rest/releases/releases
#update-a-release. For references: https://github.com/vercel/next.js/pull/94596
"""

from urllib.parse import quote

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.emulator import EMULATOR, Emulator

FOLDER = ".github/workflows/"


async def require_workflows(request: web.Request, commit: str) -> None:
    """Raise the refusal of a token that may not bring the workflows of this commit, branch or tree.

    GitHub is said to refuse commits that only lack a new workflow as well, so any difference counts here:
    https://github.com/vybestack/llxprt-code/issues/3115
    """
    caller, emulator = request[CALLER], request.app[EMULATOR]
    if caller.allows("workflows", "write"):
        return
    repository = caller.known_repository
    wanted, default = [
        await _workflows(emulator, repository["full_name"], name) for name in (commit, repository["default_branch"])
    ]
    if wanted is not None and wanted != default:
        raise caller.refusal()


def require_no_workflow(request: web.Request, paths: set[str]) -> None:
    """Raise the refusal of a token that may not write one of these files."""
    caller = request[CALLER]
    if any(path.startswith(FOLDER) for path in paths) and not caller.allows("workflows", "write"):
        raise caller.refusal()


async def _workflows(emulator: Emulator, repository: str, name: str) -> set[tuple[str, str]] | None:
    """The paths and digests of a commit's workflows; None where there is no such commit."""
    base = f"/repos/{repository}"
    commit = await emulator.get(f"{base}/commits/{quote(name, safe='')}")
    tree = commit["commit"]["tree"]["sha"] if commit else name
    found = await emulator.get(f"{base}/git/trees/{quote(tree, safe='')}", {"recursive": "1"})
    if found is None:
        return None
    return {(entry["path"], entry["sha"]) for entry in found["tree"] if entry["path"].startswith(FOLDER)}
