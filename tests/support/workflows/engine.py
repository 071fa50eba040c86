"""A run of a workflow: its jobs in the order of their needs, matrices and called workflows included.

What GitHub decides is decided as GitHub does it: which jobs are skipped, what a token may do, what a context holds.
Parsing and evaluating are GitHub's own: see language.mjs.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ci.rehearsal.tokens import Token
from tests.support.workflows.job import Job, Machine, Watch
from tests.support.workflows.language import Json, Language, WorkflowError
from tests.support.workflows.model import LEVELS, JobRun, Permissions, Result, Run, allows, worst
from tests.support.workflows.standins import GitHubSide

JOB_KEYS = {
    "concurrency", "env", "environment", "if", "name", "needs", "outputs", "permissions", "runs-on", "steps",
    "strategy", "timeout-minutes", "uses", "with",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What started the run: `github` is the context without what each job adds, `fork` a stranger's pull request."""

    workflow: str
    github: Mapping[str, Json]
    inputs: Mapping[str, Json] = field(default_factory=dict)
    fork: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The repository's settings; secrets and variables of an environment are under its name."""

    variables: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def with_secrets(self, environment: str, secrets: Mapping[str, str]) -> "Settings":
        """The same with the secrets of an environment."""
        return Settings(variables=self.variables, environments={**self.environments, environment: secrets})


@dataclass(slots=True, kw_only=True)
class Frame:
    """One workflow file in a run: the one that the event started, or one that a job calls."""

    definition: Json
    inputs: Json
    limit: Permissions | None
    prefix: str = ""
    anew: bool = False  # something that the call depends on is run again
    jobs: dict[str, JobRun] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Engine:
    """Executes the workflows below `root`."""

    root: Path
    language: Language
    github: GitHubSide
    settings: Settings
    watch: Watch
    machine: Callable[[], Machine]
    token: Callable[[Permissions], Token]

    def group(self, event: Event) -> Json:
        """The concurrency group that a run of the event's workflow waits for."""
        definition = self.language.parse(self.root, event.workflow)
        contexts = {"github": event.github, "inputs": self._dispatch_inputs(definition, event)}
        return self.language.value(definition["concurrency"], contexts)["group"]

    def run(self, event: Event, *, run_id: int, before: Run | None = None) -> Run:
        """Run the event's workflow; with `before` as its next attempt, of the jobs that did not succeed.

        Jobs that depend on one of these are run again too:
        https://docs.github.com/en/actions/how-tos/manage-workflow-runs/re-run-workflows-and-jobs
        """
        run = Run(id=run_id, attempt=before.attempt + 1 if before else 1)
        definition = self.language.parse(self.root, event.workflow)
        inputs = self._dispatch_inputs(definition, event)
        _Attempt(engine=self, event=event, run=run, before=before).jobs_of(
            Frame(definition=definition, inputs=inputs, limit=None)
        )
        return run

    def _dispatch_inputs(self, definition: Json, event: Event) -> Json:
        declared = _triggers(definition).get("workflow_dispatch") or {}
        if event.github["event_name"] != "workflow_dispatch":
            return {}
        known = declared.get("inputs") or {}
        if unknown := sorted(set(event.inputs) - set(known)):
            raise WorkflowError(f"Unexpected inputs provided: {unknown}")
        empty = {"boolean": False}
        return {
            name: event.inputs.get(name, one.get("default", empty.get(one.get("type", "string"), "")))
            for name, one in known.items()
        }


@dataclass(slots=True, kw_only=True)
class _Attempt:
    engine: Engine
    event: Event
    run: Run
    before: Run | None

    def jobs_of(self, frame: Frame) -> None:
        """Run all jobs of one workflow file."""
        waiting = dict(frame.definition["jobs"])
        while waiting:
            ready = [name for name, job in waiting.items() if not set(_needs(job)) & set(waiting)]
            if not ready:
                raise WorkflowError("the jobs wait for each other")
            for name in ready:
                job = waiting.pop(name)
                if unknown := sorted(set(job) - JOB_KEYS):
                    raise NotImplementedError(f"jobs with {', '.join(unknown)} are not executed here")
                frame.jobs[name] = self._job(name, job, frame)

    def _job(self, name: str, job: Json, frame: Frame) -> JobRun:
        identity = frame.prefix + name
        permissions = self._permissions(identity, job, frame)
        contexts = self._contexts(identity, job, frame)
        ancestors = _ancestors(name, frame.definition["jobs"])
        results = [frame.jobs[one].result for one in ancestors]
        anew = frame.anew or any(frame.jobs[one].attempt == self.run.attempt for one in ancestors)
        status = {
            "always": True,
            "cancelled": self.run.cancelled,
            "failure": Result.FAILURE in results,
            # Of all jobs before, not only of those it needs: https://github.com/actions/runner/issues/2205
            "success": not self.run.cancelled and all(one is Result.SUCCESS for one in results),
        }
        if not self.engine.language.holds(job.get("if"), contexts, status):
            done = JobRun(result=Result.SKIPPED, attempt=0)
            self.run.jobs[identity] = done
            return done
        contexts["env"] = frame.definition.get("env") or {}
        if "uses" in job:
            return self._call(identity, job, contexts, permissions, anew=anew)
        if "strategy" in job:
            return self._matrix(identity, job, contexts, permissions, anew=anew)
        return self._leaf(identity, job, contexts, permissions, anew=anew)

    def _call(self, identity: str, job: Json, contexts: Json, permissions: Permissions, *, anew: bool) -> JobRun:
        language, engine = self.engine.language, self.engine
        definition = language.parse(engine.root, job["uses"].removeprefix("./"))
        call = _triggers(definition)["workflow_call"]
        given = language.value(job.get("with", {}), contexts)
        inputs = {
            name: "" if given.get(name, one.get("default")) is None else given.get(name, one.get("default"))
            for name, one in (call.get("inputs") or {}).items()
        }
        frame = Frame(definition=definition, inputs=inputs, limit=permissions, prefix=f"{identity}/", anew=anew)
        self.jobs_of(frame)
        jobs = {name: {"result": str(one.result), "outputs": one.outputs} for name, one in frame.jobs.items()}
        outputs = {name: one["value"] for name, one in (call.get("outputs") or {}).items()}
        return JobRun(
            result=worst([one.result for one in frame.jobs.values()]),
            outputs=language.texts(outputs, {**contexts, "inputs": inputs, "jobs": jobs}),
            attempt=max(one.attempt for one in frame.jobs.values()),
        )

    def _matrix(self, identity: str, job: Json, contexts: Json, permissions: Permissions, *, anew: bool) -> JobRun:
        strategy = self.engine.language.value(job["strategy"], contexts)
        vectors = strategy["matrix"]
        if {"include", "exclude"} & set(vectors) or set(strategy) - {"matrix", "fail-fast"}:
            raise NotImplementedError("only plain matrices are executed here")
        for name, values in vectors.items():
            if not values:
                raise WorkflowError(f"Matrix vector '{name}' does not contain any values")
        whole = JobRun(result=Result.SUCCESS, attempt=0)
        legs: list[JobRun] = []
        for values in itertools.product(*vectors.values()):
            leg = f"{identity} ({', '.join(map(str, values))})"
            if strategy.get("fail-fast", True) and any(one.result is Result.FAILURE for one in legs):
                legs.append(JobRun(result=Result.CANCELLED, attempt=self.run.attempt))
                self.run.jobs[leg] = legs[-1]
                continue
            matrix = dict(zip(vectors, values, strict=True))
            legs.append(self._leaf(leg, job, contexts | {"matrix": matrix}, permissions, anew=anew))
            # The legs share their outputs: the last one that has a value decides.
            whole.outputs |= {name: value for name, value in legs[-1].outputs.items() if value}
        results = [one.result for one in legs]
        whole.attempt = max(one.attempt for one in legs)
        whole.result = Result.FAILURE if Result.FAILURE in results else worst(results)
        return whole

    def _leaf(self, identity: str, job: Json, contexts: Json, permissions: Permissions, *, anew: bool) -> JobRun:
        earlier = self.before.jobs.get(identity) if self.before else None
        if earlier is not None and earlier.result is Result.SUCCESS and not anew:
            self.run.jobs[identity] = earlier
            return earlier
        engine = self.engine
        machine = engine.machine()
        token = engine.token(permissions)
        contexts["github"] |= {"workspace": str(machine.workspace), "token": token.secret}
        contexts["secrets"]["GITHUB_TOKEN"] = token.secret
        contexts["runner"] = {"os": "Linux", "arch": "X64", "name": identity, "temp": str(machine.folder / "temp")}
        running = Job(
            name=identity,
            definition=job,
            contexts=contexts,
            permissions=permissions,
            github=engine.github,
            machine=machine,
            language=engine.language,
            watch=engine.watch,
            root=engine.root,
            cancelled=self.run.cancelled,
        )
        done = running.execute()
        engine.github.server.expire(token)
        done.attempt = self.run.attempt
        self.run.cancelled = running.cancelled
        self.run.jobs[identity] = done
        return done

    def _permissions(self, identity: str, job: Json, frame: Frame) -> Permissions:
        """What the job's token may do: what is declared, never more than a caller has, and for forks only reading."""
        declared = job.get("permissions", frame.definition.get("permissions"))
        if not isinstance(declared, dict):
            raise NotImplementedError(f"{identity} does not declare its permissions one by one")
        if frame.limit is not None:
            for name, level in declared.items():
                if not allows(frame.limit, name, level):
                    raise WorkflowError(
                        f"The nested job '{identity}' is requesting '{name}: {level}', "
                        f"but is only allowed '{name}: {frame.limit.get(name, LEVELS[0])}'"
                    )
        if not self.event.fork:
            return dict(declared)
        return {name: "read" for name, level in declared.items() if level != "none" and name != "id-token"}

    def _contexts(self, identity: str, job: Json, frame: Frame) -> dict[str, Json]:
        settings = self.engine.settings
        named = job.get("environment")
        named = named["name"] if isinstance(named, dict) else named
        environment = {} if self.event.fork else settings.environments.get(str(named), {})
        needs = {
            name: {"result": str(frame.jobs[name].result), "outputs": frame.jobs[name].outputs} for name in _needs(job)
        }
        github = dict(self.event.github) | {
            "job": identity.rpartition("/")[2],
            "run_id": str(self.run.id),
            "run_attempt": str(self.run.attempt),
            "run_number": "1",
        }
        return {
            "github": github,
            "inputs": frame.inputs,
            "needs": needs,
            # A fork's runs get neither secrets nor variables.
            "vars": {} if self.event.fork else dict(settings.variables),
            "secrets": dict(environment),
            "strategy": {},
            "matrix": {},
        }


def _triggers(definition: Json) -> Json:
    on = definition["on"]
    return on if isinstance(on, dict) else dict.fromkeys([on] if isinstance(on, str) else on)


def _needs(job: Json) -> list[str]:
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


def _ancestors(name: str, jobs: Json) -> set[str]:
    direct = _needs(jobs[name])
    return set(direct).union(*(_ancestors(one, jobs) for one in direct))
