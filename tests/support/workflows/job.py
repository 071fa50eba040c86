"""One job on a machine of its own: its steps in order, each with the environment that Actions would give it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.support.workflows.language import Json, Language, WorkflowError
from tests.support.workflows.model import JobRun, Permissions, Result, StepRun, worst
from tests.support.workflows.shell import Files, run_script
from tests.support.workflows.standins import ActionError, Call, GitHubSide, act

# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs: a job's outputs
# are at most 1 MB, in UTF-16.
LARGEST_OUTPUTS = 1 << 20
# https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary: of a step.
LARGEST_SUMMARY = 1 << 20
STEP_KEYS = {"name", "id", "if", "uses", "run", "shell", "with", "env"}
LONGEST_SECONDS = 1500.0


class Watch(Protocol):
    """What a test may do to a step: `before` it starts, and decide from its log so far to cancel the run."""

    def before(self, job: str, step: str) -> None: ...

    def cancel(self, job: str, step: str, log: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A fresh runner. `lay_out` puts into a checkout what its set-up then finds there already."""

    folder: Path
    environment: Mapping[str, str]
    lay_out: Callable[[Path], None]

    @property
    def workspace(self) -> Path:
        return self.folder / "work"


@dataclass(slots=True, kw_only=True)
class Job:
    """A job about to run: its definition and all contexts but those that its steps make."""

    name: str
    definition: Json
    contexts: dict[str, Json]
    permissions: Permissions
    github: GitHubSide
    machine: Machine
    language: Language
    watch: Watch
    root: Path
    cancelled: bool = False
    _run: JobRun = field(default_factory=lambda: JobRun(result=Result.SUCCESS))
    _environment: dict[str, str] = field(default_factory=dict)
    _path: list[str] = field(default_factory=list)
    _masks: set[str] = field(default_factory=set)

    def execute(self) -> JobRun:
        """Run all steps, and evaluate the job's outputs."""
        for folder in ("work", "temp", "files", "home"):
            (self.machine.folder / folder).mkdir(parents=True)
        self._run.permissions = self.permissions
        self._environment = self._variables()
        self._environment |= self.language.texts(self.contexts.pop("env"), self.contexts)
        self._environment |= self.language.texts(self.definition.get("env"), self.contexts)
        steps, tokens = self.definition["steps"], len(self.github.tokens)
        contexts = self.contexts | {"steps": _step_context(steps, self._steps(steps, self.contexts["inputs"]))}
        for _, token in self.github.tokens[tokens:]:
            self.github.server.expire(token)  # the action revokes it
        outputs = self.language.texts(self.definition.get("outputs"), contexts)
        if sum(len(value.encode("utf-16-le")) for value in outputs.values()) > LARGEST_OUTPUTS:
            raise WorkflowError(f"the outputs of {self.name} are larger than {LARGEST_OUTPUTS} bytes")
        # The runner drops an output that holds anything it was told to mask.
        self._run.outputs = {
            name: value for name, value in outputs.items() if not any(mask in value for mask in self._masks)
        }
        return self._run

    def _variables(self) -> dict[str, str]:
        """The default variables: https://docs.github.com/en/actions/reference/workflows-and-actions/variables"""
        github, runner = self.contexts["github"], self.contexts["runner"]
        plain = {
            f"GITHUB_{name.upper()}": str(value)
            for name, value in github.items()
            if name not in {"event", "token"} and value is not None
        }
        event = self.machine.folder / "files" / "event.json"
        event.write_text(json.dumps(github["event"]), encoding="utf-8")
        return dict(self.machine.environment) | plain | {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_PATH": str(event),
            "HOME": str(self.machine.folder / "home"),
            "RUNNER_OS": runner["os"],
            "RUNNER_TEMP": runner["temp"],
        }  # fmt: skip

    def _steps(self, steps: list[Json], inputs: Json) -> list[StepRun]:
        """Run steps, of the job or of a composite action; those of an action are in the job's list too."""
        done: list[StepRun] = []
        for step in steps:
            if unknown := sorted(set(step) - STEP_KEYS):
                raise NotImplementedError(f"steps with {', '.join(unknown)} are not executed here")
            contexts = self.contexts | {
                "env": self._environment,
                "inputs": inputs,
                "job": {"status": str(self._run.result)},
                "steps": _step_context(steps, done),
            }
            done.append(self._step(step, contexts))
        return done

    def _step(self, step: Json, contexts: Json) -> StepRun:
        uses = step.get("uses")
        found = StepRun(
            name=self.language.text(step.get("name") or uses or step["run"], contexts),
            uses=uses,
            outcome=Result.SKIPPED,
            conclusion=Result.SKIPPED,
        )
        self._run.steps.append(found)
        if not self.language.holds(step.get("if"), contexts, self._status()):
            return found
        self.watch.before(self.name, found.name)
        environment = self._environment | self.language.texts(step.get("env"), contexts)
        environment["PATH"] = os.pathsep.join([*reversed(self._path), environment["PATH"]])
        try:
            if uses is None:
                self._script(step, found, environment, contexts)
            elif uses.startswith("./"):
                self._composite(uses, step, found, contexts)
            else:
                self._action(uses, step, found, contexts)
        except ActionError as failure:
            found.outcome, found.log = Result.FAILURE, f"##[error]{failure}\n"
        found.conclusion = found.outcome
        if found.conclusion is not Result.SUCCESS and self._run.result is Result.SUCCESS:
            self._run.result = found.conclusion
        return found

    def _composite(self, uses: str, step: Json, found: StepRun, contexts: Json) -> None:
        action = self.language.parse(self.root, f"{uses.removeprefix('./')}/action.yml", "action")
        if unknown := sorted(set(step.get("with", {})) - set(action.get("inputs", {}))):
            raise ActionError(f"Unexpected input(s) {', '.join(unknown)}")
        within = self._steps(action["runs"]["steps"], self.language.texts(step.get("with"), contexts))
        found.outcome = worst([one.conclusion for one in within])

    def _script(self, step: Json, found: StepRun, environment: dict[str, str], contexts: Json) -> None:
        files = Files(folder=self.machine.folder / "files")
        ended = run_script(
            self.language.text(step["run"], contexts),
            shell=step.get("shell"),
            folder=self.machine.workspace,
            scratch=self.machine.folder / "temp",
            environment=environment | files.environment(),
            timeout=min(60.0 * self.definition["timeout-minutes"], LONGEST_SECONDS),
            cancel=lambda log: self.watch.cancel(self.name, found.name, log),
        )
        self._masks |= set(ended.masks)
        found.log, found.outputs = ended.log, files.values("OUTPUT")
        found.outcome = Result.SUCCESS if ended.code == 0 else Result.FAILURE
        if ended.cancelled:
            self.cancelled, found.outcome = True, Result.CANCELLED
        self._environment |= files.values("ENV")
        self._path += files.path("PATH").read_text(encoding="utf-8").splitlines()
        summary = files.path("STEP_SUMMARY").read_text(encoding="utf-8")
        if len(summary.encode()) > LARGEST_SUMMARY:
            raise WorkflowError(f"the summary of {found.name} is larger than {LARGEST_SUMMARY} bytes")
        self._run.summary += summary

    def _action(self, uses: str, step: Json, found: StepRun, contexts: Json) -> None:
        github = self.contexts["github"]
        found.outputs = act(
            uses,
            Call(
                inputs=self.language.texts(step.get("with", {}), contexts),
                workspace=self.machine.workspace,
                sha=github["sha"],
                run_id=int(github["run_id"]),
                repository=github["repository"],
                token=github["token"],
                permissions=self.permissions,
                github=self.github,
            ),
        )
        found.outcome = Result.SUCCESS
        self._masks |= {value for name, value in found.outputs.items() if name == "token"}  # the action masks it
        if uses.startswith("actions/checkout@"):
            self.machine.lay_out(self.machine.workspace)

    def _status(self) -> dict[str, bool]:
        return {
            "always": True,
            "cancelled": self.cancelled,
            "failure": self._run.result is Result.FAILURE,
            "success": self._run.result is Result.SUCCESS,
        }


def _step_context(steps: list[Json], done: list[StepRun]) -> Json:
    """The context `steps`, as far as the steps of one list are done."""
    return {
        step["id"]: {"outputs": run.outputs, "outcome": str(run.outcome), "conclusion": str(run.conclusion)}
        for step, run in zip(steps, done, strict=False)
        if "id" in step
    }
