"""What a run of a workflow is made of, and what it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Permissions = Mapping[str, str]

LEVELS = ("none", "read", "write")


class Result(StrEnum):
    """How a step, a job or a run ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


def worst(results: list[Result]) -> Result:
    """The result of several jobs together."""
    for result in (Result.CANCELLED, Result.FAILURE, Result.SUCCESS):
        if result in results:
            return result
    return Result.SKIPPED


def allows(permissions: Permissions, name: str, level: str) -> bool:
    """Whether a token with `permissions` may do what needs `level` of `name`."""
    return LEVELS.index(permissions.get(name, "none")) >= LEVELS.index(level)


@dataclass(slots=True, kw_only=True)
class StepRun:
    """A step that was reached. `outcome` is how it ended, `conclusion` what that counts as."""

    name: str
    uses: str | None
    outcome: Result
    conclusion: Result
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class JobRun:
    """A job, one leg of a matrix, or a call of another workflow, whose jobs are then in the run as well.

    `attempt` is the one in which it ran: a later attempt keeps what has succeeded. 0 is none.
    """

    result: Result
    attempt: int = 1
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[StepRun] = field(default_factory=list)
    summary: str = ""
    permissions: Permissions = field(default_factory=dict)

    def step(self, name: str) -> StepRun:
        """The step of this name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def log(self) -> str:
        return "\n".join(step.log for step in self.steps)


@dataclass(slots=True, kw_only=True)
class Run:
    """A run of a workflow: its jobs by id, those of a called workflow as `caller/job`, legs as `job (value)`."""

    id: int
    attempt: int
    jobs: dict[str, JobRun] = field(default_factory=dict)
    cancelled: bool = False

    @property
    def result(self) -> Result:
        return worst([job.result for job in self.jobs.values()])

    @property
    def summary(self) -> str:
        """What the run's page shows."""
        return "".join(job.summary for job in self.jobs.values())

    @property
    def log(self) -> str:
        return "\n".join(job.log for job in self.jobs.values())

    def results(self) -> dict[str, str]:
        return {name: str(job.result) for name, job in self.jobs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """What stood in for actions/attest was asked to sign."""

    subject: str
    sha256: str
    predicate: str
