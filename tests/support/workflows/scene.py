"""Where the workflows are executed: a repository made from this checkout, on a GitHub of its own, with its settings."""

import itertools
import os
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests

from ci.rehearsal.server import GitHubServer
from ci.rehearsal.tokens import Token
from ci.rehearse import CONSUMER_EXAMPLE, FIRST_MANIFEST
from ci.release.targets import CHANGELOG, CONSUMER_MANIFEST, MANIFEST
from tests.support.workflows.checkout import commit_all, copy_checkout, git, lay_out
from tests.support.workflows.engine import Engine, Event, Settings
from tests.support.workflows.job import Machine
from tests.support.workflows.language import Json, Language, WorkflowError
from tests.support.workflows.model import Permissions, Run
from tests.support.workflows.standins import GitHubSide

IMAGE, SECOND = "jammy", "bookworm"
CONSUMER = "FountainKit"

# Runs are numbered across all repositories, as at GitHub.
_first_runs = itertools.count(1000, 1000)

Edit = Callable[[str], str]


def replaced(old: str, new: str) -> Edit:
    """An edit of a file's text that must not miss."""

    def edit(text: str) -> str:
        if old not in text:
            raise AssertionError(f"there is no {old!r} to replace")
        return text.replace(old, new)

    return edit


def stood_in(module: str, names: str) -> Edit:
    """An edit of a module that has it take `names` from light/: everything around them stays real."""
    line = f"\nfrom tests.support.workflows.light.{module} import {names}\n"
    return lambda text: text + line


def in_turn(*edits: Edit) -> Edit:
    """Several edits as one."""

    def edit(text: str) -> str:
        for one in edits:
            text = one(text)
        return text

    return edit


# Where building and booting is not the point. Nobody else uses this GitHub, so that it need not be spared either.
LIGHT: dict[str, Edit] = {
    "ci/boot/all_boots.py": stood_in("boot", "passed as boot_all"),
    "ci/host/accelerator/__init__.py": stood_in("accelerator", "works as find_kvm_fault"),
    "ci/host/appliance/check.py": stood_in("appliance", "check_appliance as check_appliance"),
    "ci/image/base/bootstrap.py": stood_in("bootstrap", "bootstrap_base as bootstrap_base"),
    "ci/image/build.py": stood_in("build", "provision as make_image"),
    "ci/fetch/retry.py": in_turn(
        replaced("seconds_between_requests: float = 0.25", "seconds_between_requests: float = 0"),
        replaced("seconds_between_writes: float = 1.0", "seconds_between_writes: float = 0"),
        replaced("LONGEST_PAUSE = 30.0", "LONGEST_PAUSE = 0.01"),
    ),
}


@dataclass(slots=True, kw_only=True)
class Interference:
    """What a test does to a run: calls before a step, by job and step; and a text in a step's log that cancels it."""

    before_step: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)
    cancel_at: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Scene:
    """One repository and its runs."""

    folder: Path
    language: Language
    repository: str
    settings: Settings
    side: GitHubSide
    runs: dict[int, Json]
    cache: Path
    compiled: Path
    tools: Mapping[str, str] = field(default_factory=dict)
    private: bool = False
    interference: Interference = field(default_factory=Interference)
    note: Callable[[str, Run], None] = lambda _trigger, _run: None
    _groups: set[str] = field(default_factory=set)
    _runs: int = field(default_factory=lambda: next(_first_runs))

    @property
    def root(self) -> Path:
        return self.folder / "origin"

    @property
    def server(self) -> GitHubServer:
        return self.side.server

    # What people do

    def commit(self, edits: Mapping[str, Edit], message: str = "Change something") -> str:
        """Commit edits of files to whatever is checked out; returns the commit."""
        for path, edit in edits.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(edit(file.read_text(encoding="utf-8") if file.exists() else ""), encoding="utf-8")
        return commit_all(self.root, message)

    def push_tag(self, tag: str) -> Event:
        """Tag main's head; the event that it makes."""
        return self._event("push", ".github/workflows/release.yml", ref=f"refs/tags/{tag}", sha=self.head())

    def push_main(self) -> Event:
        """Push main's head; the event that it makes."""
        return self._event("push", ".github/workflows/tests.yml", ref="refs/heads/main", sha=self.head())

    def schedule(self, workflow: str) -> Event:
        """The time has come for a workflow."""
        return self._event("schedule", f".github/workflows/{workflow}.yml", ref="refs/heads/main", sha=self.head())

    def dispatch(self, ref: str = "refs/heads/main", workflow: str = "release", **inputs: str | bool) -> Event:
        """Run a workflow by hand."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        event = self._event("workflow_dispatch", f".github/workflows/{workflow}.yml", ref=ref, sha=self.head())
        return Event(workflow=event.workflow, github=event.github, inputs=given)

    def open_pull(self, edits: Mapping[str, Edit], *, fork: bool = False) -> Event:
        """Open a pull request; the event that it makes."""
        branch = f"change-{uuid.uuid4().hex[:8]}"
        git(self.root, "checkout", "--quiet", "-b", branch, "main")
        self.commit(edits)
        git(self.root, "checkout", "--quiet", "--detach", "main")
        git(self.root, "merge", "--quiet", "--no-ff", "-m", "Merge", branch)
        self.server.commit(self.repository, {"changed": "yes\n"}, branch=branch)
        number = self._post_pull(branch)
        return self._event(
            "pull_request", ".github/workflows/pull-request.yml",
            ref=f"refs/pull/{number}/merge", sha=self.head(), number=number, fork=fork,
        )  # fmt: skip

    def queue(self, event: Event) -> Event:
        """Put an open pull request into the merge queue, which merges as the button would; the event that it makes."""
        base = git(self.root, "rev-parse", "HEAD^1")
        ref = f"refs/heads/gh-readonly-queue/main/pr-{event.github['event']['pull_request']['number']}-{base}"
        made = self._event("merge_group", event.workflow, ref=ref, sha=self.head())
        payload = {**made.github["event"], "merge_group": {"base_sha": base, "base_ref": "refs/heads/main"}}
        return Event(workflow=event.workflow, github={**made.github, "event": payload})

    def push_to(self, event: Event, edits: Mapping[str, Edit]) -> Event:
        """Push another commit to an open pull request; the event that it makes."""
        sha = self.commit(edits)
        return Event(workflow=event.workflow, github={**event.github, "sha": sha}, fork=event.fork)

    def run(self, event: Event, before: Run | None = None, workflows: Path | None = None) -> Run:
        """Execute what an event starts, or a run's failed jobs again; `workflows` has others than the repository."""
        if before is None:
            self._runs += 1
            self.runs[self._runs] = self._run_facts(event)
        engine = Engine(
            root=workflows or self.root,
            language=self.language,
            github=self.side,
            settings=self.settings,
            watch=self,
            machine=self._machine,
            token=self._token,
        )
        if (group := engine.group(event)) in self._groups:
            raise WorkflowError(f"the run would wait for the one that is in the concurrency group {group}")
        self._groups.add(group)
        try:
            done = engine.run(event, run_id=before.id if before else self._runs, before=before)
        finally:
            self._groups.remove(group)
        self.note(event.github["event_name"] + (" from a fork" if event.fork else ""), done)
        return done

    def run_all_again(self, event: Event, before: Run, workflows: Path | None = None) -> Run:
        """Execute all jobs of a run again."""
        return self.run(event, Run(id=before.id, attempt=before.attempt), workflows)

    def _run_facts(self, event: Event) -> Json:
        """What GitHub says of a run: https://docs.github.com/en/rest/actions/workflow-runs#get-a-workflow-run"""
        return {
            "id": self._runs,
            "html_url": f"{self.server.url}/{self.repository}/actions/runs/{self._runs}",
            "head_sha": event.github["sha"],
            "event": event.github["event_name"],
            "path": event.workflow,
            "repository": {"id": 1},
            "head_repository": {"id": 2 if event.fork else 1},
        }

    def head(self) -> str:
        return git(self.root, "rev-parse", "HEAD")

    # What the engine asks

    def before(self, job: str, step: str) -> None:
        self.interference.before_step.get((job, step), lambda: None)()

    def cancel(self, job: str, step: str, log: str) -> bool:
        text = self.interference.cancel_at.get((job, step))
        return text is not None and text in log

    def _token(self, permissions: Permissions) -> Token:
        granted = {name.replace("-", "_"): level for name, level in permissions.items()}
        return self.server.job_token(self.repository, **granted)

    def _machine(self) -> Machine:
        folder = self.folder / "machines" / uuid.uuid4().hex
        tools = folder / "tools"
        tools.mkdir(parents=True)
        record = folder / "sudo"
        for name, line in {"sudo": f'printf "%s\\n" "$*" >>"{record}"', **self.tools}.items():
            (tools / name).write_text(f"#!/bin/bash\n{line}\n")
            (tools / name).chmod(0o755)
        environment = {
            "LANG": "C.UTF-8",
            "PATH": f"{tools}{os.pathsep}{system_path()}",
            "TMPDIR": str(folder),
            "TOOLSMITH_CACHE": str(self.cache),
        }
        return Machine(
            folder=folder, environment=environment, lay_out=lambda workspace: lay_out(workspace, self.compiled)
        )

    def recorded_sudo(self) -> list[str]:
        """What would have been done as root, on all machines so far."""
        records = sorted((self.folder / "machines").glob("*/sudo"))
        return [line for record in records for line in record.read_text(encoding="utf-8").splitlines()]

    def _event(
        self, name: str, workflow: str, *, ref: str, sha: str, number: int | None = None, fork: bool = False
    ) -> Event:
        owner, _, short = self.repository.partition("/")
        payload: Json = {
            "repository": {
                "name": short, "full_name": self.repository, "private": self.private, "default_branch": "main",
            }
        }  # fmt: skip
        if number is not None:
            source = "stranger/image" if fork else self.repository
            payload["pull_request"] = {"number": number, "head": {"repo": {"full_name": source}}}
        kind = "tag" if ref.startswith("refs/tags/") else "branch"
        github = {
            "actor": "somebody",
            "api_url": self.server.url,
            "base_ref": "main" if number is not None else "",
            "event": payload,
            "event_name": name,
            "head_ref": "change" if number is not None else "",
            "ref": ref,
            "ref_name": ref.split("/", 2)[2],
            "ref_type": kind,
            "repository": self.repository,
            "repository_owner": owner,
            "server_url": self.server.url,
            "sha": sha,
            "workflow": workflow,
        }
        return Event(workflow=workflow, github=github, fork=fork)

    def _post_pull(self, branch: str) -> int:
        answer = requests.post(
            f"{self.server.url}/repos/{self.repository}/pulls",
            json={"title": "Change", "head": branch, "base": "main", "body": ""},
            headers={"Authorization": f"Bearer {self.server.token}"},
            timeout=60,
        )
        answer.raise_for_status()
        return int(answer.json()["number"])


def system_path() -> str:
    """PATH without the environment that the tests run in: a runner has none."""
    own = str(Path(sys.prefix) / "bin")
    return os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != own)


def make_origin(target: Path, keys: str, edits: Mapping[str, Edit]) -> None:
    """A repository like this one, but with a key, and with definitions that need no image host."""
    target.mkdir(parents=True)
    copy_checkout(target)
    images = target / "build/images"
    text = (images / f"{SECOND}.toml").read_text(encoding="utf-8")
    (images / f"{IMAGE}.toml").write_text(replaced("release = false", "release = true")(text))
    (images / f"{SECOND}.toml").write_text(replaced('distribution = "debian-12"', 'distribution = "second"')(text))
    (target / "build/authorized_keys").write_text(keys)
    for path, edit in edits.items():
        (target / path).write_text(edit((target / path).read_text(encoding="utf-8")), encoding="utf-8")
    git(target, "init", "--quiet", "--initial-branch=main")
    # As at GitHub, a commit can be fetched by its name.
    git(target, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit_all(target, "Begin")


def server_files(origin: Path) -> dict[str, str]:
    """What the repository on the server has: what a release reads and changes."""
    return {
        "README.md": "A repository.\n",
        CHANGELOG: (origin / CHANGELOG).read_text(encoding="utf-8"),
        MANIFEST: FIRST_MANIFEST,
    }


def consumer_files() -> dict[str, str]:
    return {CONSUMER_MANIFEST: CONSUMER_EXAMPLE}
