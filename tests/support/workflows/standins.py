"""Small local stand-ins for the actions of others that the workflows use.

Each takes no input that the real one does not have, does what the real one would do to the job's files, needs the
permissions that the real one needs, and fails where the real one would.
"""

import fnmatch
import glob
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ci.host.files import sha256_file
from ci.host.process import run
from ci.rehearsal.replies import ApiError
from ci.rehearsal.server import GitHubServer
from ci.rehearsal.tokens import Token
from tests.support.workflows.model import Attestation, Permissions, allows

PINNED = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)@[0-9a-f]{40}")


class ActionError(Exception):
    """An action failed, with this in its log."""


@dataclass(slots=True, kw_only=True)
class GitHubSide:
    """What actions leave at GitHub. Artifacts are folders named by run and artifact; an app's tokens by repository."""

    origin: Path
    artifacts: Path
    server: GitHubServer
    attestations: list[Attestation] = field(default_factory=list)
    tokens: list[tuple[str, Token]] = field(default_factory=list)
    pages_artifacts: list[tuple[int, str]] = field(default_factory=list)

    @property
    def pages(self) -> Path:
        """What the repository's site shows."""
        return self.artifacts.parent / "pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A `uses:` step: its inputs, where it works, and what its job is and may do."""

    inputs: Mapping[str, str]
    workspace: Path
    sha: str
    run_id: int
    repository: str
    token: str
    permissions: Permissions
    github: GitHubSide

    def need(self, name: str, level: str) -> None:
        if not allows(self.permissions, name, level):
            raise ActionError(f"Resource not accessible by integration: this needs `{name}: {level}`")


def checkout(call: Call) -> dict[str, str]:
    call.need("contents", "read")
    depth = call.inputs.get("fetch-depth", "1")
    git = ["git", "-C", str(call.workspace), "-c", "protocol.file.allow=always"]
    run(["git", "init", "--quiet", call.workspace], timeout=60)
    limit = [] if depth == "0" else [f"--depth={depth}"]
    run(
        [*git, "fetch", "--quiet", *limit, f"file://{call.github.origin}", call.inputs.get("ref") or call.sha],
        timeout=60,
    )
    run([*git, "checkout", "--quiet", "--detach", "FETCH_HEAD"], timeout=60)
    return {}


def upload_artifact(call: Call) -> dict[str, str]:
    name = call.inputs["name"]
    folder = call.github.artifacts / str(call.run_id) / name
    if folder.exists() and call.inputs.get("overwrite") != "true":
        raise ActionError("(409) Conflict: an artifact with this name already exists on the workflow run")
    shutil.rmtree(folder, ignore_errors=True)
    files = dict(_selected(call.workspace, call.inputs["path"]))
    if not files:
        if call.inputs.get("if-no-files-found", "warn") == "error":
            raise ActionError(f"No files were found with the provided path: {call.inputs['path']}")
        return {}
    for relative, source in files.items():
        (folder / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / relative)  # an artifact keeps no permission bits
    digest = hashlib.sha256("".join(sorted(files)).encode()).hexdigest()
    return {"artifact-id": "1", "artifact-digest": digest}


def _selected(workspace: Path, patterns: str) -> Iterator[tuple[str, Path]]:
    """Files by their path below what the patterns have in common; hidden ones are left out, as by default."""
    lines = [line.strip() for line in patterns.splitlines() if line.strip()]
    wanted = [line for line in lines if not line.startswith("!")]
    excluded = [line.removeprefix("!") for line in lines if line.startswith("!")]
    if len(wanted) != 1:
        raise NotImplementedError("several paths have a common root that this stand-in does not work out")
    fixed = wanted[0].partition("*")[0]
    root = workspace / (fixed if fixed == wanted[0] else fixed.rpartition("/")[0])
    for path in sorted(root.rglob("*")):
        relative, inside = path.relative_to(root), str(path.relative_to(workspace))
        hidden = any(part.startswith(".") for part in relative.parts)
        chosen = fixed == wanted[0] or (fnmatch.fnmatch(inside, wanted[0]) and path.parent == root)
        if path.is_file() and chosen and not hidden and not any(fnmatch.fnmatch(inside, one) for one in excluded):
            yield str(relative), path


def download_artifact(call: Call) -> dict[str, str]:
    if call.inputs.get("github-token"):
        call.need("actions", "read")
        run_id = call.inputs["run-id"]
    else:
        run_id = str(call.run_id)  # without a token only the run's own can be had
    found = [
        folder
        for folder in sorted((call.github.artifacts / run_id).glob("*"))
        if any(fnmatch.fnmatch(folder.name, pattern) for pattern in _alternatives(call.inputs["pattern"]))
    ]
    if call.inputs.get("merge-multiple") != "true":
        raise NotImplementedError("this stand-in only merges")
    target = call.workspace / call.inputs["path"]
    target.mkdir(parents=True, exist_ok=True)
    for folder in found:
        shutil.copytree(folder, target, dirs_exist_ok=True)
    return {"download-path": str(target)}


def _alternatives(pattern: str) -> list[str]:
    braces = re.fullmatch(r"(.*)\{([^{}]*)\}(.*)", pattern)
    if braces is None:
        return [pattern]
    return [f"{braces[1]}{one}{braces[3]}" for one in braces[2].split(",")]


def attest(call: Call) -> dict[str, str]:
    call.need("id-token", "write")
    call.need("attestations", "write")
    subjects: list[Path] = []
    for line in filter(None, map(str.strip, call.inputs["subject-path"].splitlines())):
        found = [Path(one) for one in sorted(glob.glob(str(call.workspace / line)))]  # noqa: PTH207
        # The real one asks only that all lines together find something.
        if not found or not all(one.is_file() for one in found):
            raise ActionError(f"Could not find subject at path {line}")
        subjects += found
    sbom = call.inputs.get("sbom-path")
    if sbom is not None and (len(subjects) != 1 or not (call.workspace / sbom).is_file()):
        raise ActionError(f"SBOM file not found, or not of one subject: {sbom}")
    call.github.attestations += [
        Attestation(subject=one.name, sha256=sha256_file(one), predicate="sbom" if sbom else "provenance")
        for one in subjects
    ]
    return {"attestation-id": str(len(call.github.attestations))}


def create_github_app_token(call: Call) -> dict[str, str]:
    if not call.inputs.get("client-id") or not call.inputs.get("private-key"):
        raise ActionError("Input required and not supplied: private-key")
    owner = call.inputs.get("owner") or call.repository.partition("/")[0]
    names = call.inputs.get("repositories") or ("" if "owner" in call.inputs else call.repository.partition("/")[2])
    if not names or "," in names:
        raise ActionError("an app's token for more than one repository is more than anything here needs")
    # Without any the real one asks for all that the app has; here for nothing, so that each has to be asked for.
    permissions = {
        name.removeprefix("permission-").replace("-", "_"): level
        for name, level in call.inputs.items()
        if name.startswith("permission-")
    }
    try:
        token = call.github.server.app_token(f"{owner}/{names}", **permissions)
    except ApiError as failure:  # the app is not installed there
        raise ActionError(str(failure)) from failure
    call.github.tokens.append((f"{owner}/{names}", token))
    return {"token": token.secret}


def upload_pages_artifact(call: Call) -> dict[str, str]:
    source = call.workspace / call.inputs["path"]
    if not source.is_dir():
        raise ActionError(f"tar: {call.inputs['path']}: Cannot open: No such file or directory")
    name = call.inputs.get("name", PAGES_ARTIFACT)
    call.github.pages_artifacts.append((call.run_id, name))
    shutil.copytree(source, call.github.artifacts / str(call.run_id) / name, dirs_exist_ok=True)
    return {"artifact_id": "1"}


def deploy_pages(call: Call) -> dict[str, str]:
    call.need("pages", "write")
    call.need("id-token", "write")
    name = call.inputs.get("artifact_name", PAGES_ARTIFACT)
    count = call.github.pages_artifacts.count((call.run_id, name))
    if count == 0:
        raise ActionError(f'No artifacts named "{name}" were found for this workflow run')
    # Those of earlier attempts count: https://github.com/actions/deploy-pages/issues/372
    if count > 1:
        raise ActionError(f'Multiple artifacts named "{name}" were unexpectedly found. Artifact count is {count}')
    artifact = call.github.artifacts / str(call.run_id) / name
    shutil.rmtree(call.github.pages, ignore_errors=True)
    shutil.copytree(artifact, call.github.pages)
    return {"page_url": "https://pages.example/"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """A stand-in, and the inputs that the real action has, as far as they are used or likely to be."""

    act: Callable[[Call], dict[str, str]]
    inputs: frozenset[str]


ARTIFACT_INPUTS = {"name", "path", "if-no-files-found", "retention-days", "compression-level", "overwrite"}
DOWNLOAD_INPUTS = {"name", "path", "pattern", "merge-multiple", "github-token", "repository", "run-id"}
PAGES_ARTIFACT = "github-pages"
APP_INPUTS = {"client-id", "private-key", "owner", "repositories"}

STAND_INS = {
    "actions/checkout": StandIn(
        act=checkout, inputs=frozenset({"persist-credentials", "fetch-depth", "ref", "repository"})
    ),
    "actions/upload-artifact": StandIn(act=upload_artifact, inputs=frozenset(ARTIFACT_INPUTS)),
    "actions/download-artifact": StandIn(act=download_artifact, inputs=frozenset(DOWNLOAD_INPUTS)),
    "actions/upload-pages-artifact": StandIn(
        act=upload_pages_artifact, inputs=frozenset({"name", "path", "retention-days", "include-hidden-files"})
    ),
    "actions/deploy-pages": StandIn(act=deploy_pages, inputs=frozenset({"artifact_name", "timeout", "token"})),
    "actions/attest": StandIn(act=attest, inputs=frozenset({"subject-path", "sbom-path", "github-token"})),
    "actions/create-github-app-token": StandIn(
        act=create_github_app_token,
        inputs=frozenset({*APP_INPUTS, "permission-contents", "permission-pull-requests"}),
    ),
}


def act(uses: str, call: Call) -> dict[str, str]:
    """What an action by somebody else does, by its stand-in; returns its outputs."""
    pinned = PINNED.fullmatch(uses)
    if pinned is None:
        raise ActionError(f"{uses} is not pinned to a commit")
    stand_in = STAND_INS[pinned["name"]]
    if unknown := sorted(set(call.inputs) - stand_in.inputs):
        raise ActionError(f"Unexpected input(s) {', '.join(unknown)}")
    return stand_in.act(call)
