"""The validation report, `<stem>.validation.json`: what the boot test expected, and what it saw."""

import shlex
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ci.records.record import Part, Record, Sha256

Seconds = Annotated[float, AfterValidator(lambda time: round(time, 2))]


class Outcome(StrEnum):
    """How a check ended; `skipped` says in `actual` why it could not run."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class CheckResult(Part):
    """One check: `id` is its heading in docs/validation.md."""

    id: str
    boot: str
    title: str
    expected: str
    actual: str
    outcome: Outcome
    seconds: Seconds


# As a record of a release has it, which comes from anywhere.
Stretch = Annotated[Seconds, Field(ge=0, le=86_400, allow_inf_nan=False)]


class StartPart(Part):
    """What a part of a start took; it began `begin` seconds after QEMU."""

    name: str
    begin: Stretch
    seconds: Stretch


class BootResult(Part):
    """One start of the image. Seconds from QEMU's start; None where that point was not reached or not looked for.

    `start` has the parts that matter, of one boot only; reports of before 2026-11-28 have none.
    """

    name: str
    memory_mib: int
    cpus: int
    login_prompt_seconds: Seconds | None
    ssh_seconds: Seconds | None
    total_seconds: Seconds
    start: tuple[StartPart, ...] = ()


class ValidationReport(Record):
    """`image_sha256` is the digest before the first boot and after the last: nothing was altered in between."""

    schema_: Literal["fountainkit-toolsmith-image/validation/1"] = Field(
        default="fountainkit-toolsmith-image/validation/1", alias="schema"
    )
    image: str
    image_sha256: Sha256
    version: str
    passed: bool
    started_at: datetime
    accelerator: str
    accelerator_reason: str
    qemu: str
    boots: list[BootResult]
    checks: list[CheckResult]
    seconds: float

    @property
    def failed(self) -> list[CheckResult]:
        """The checks that failed."""
        return [check for check in self.checks if check.outcome is Outcome.FAILED]


def way_in(image: str) -> str:
    """The command after which the machine of a boot that fails stays, with the way in; `image` is the file's name."""
    return shlex.join(["toolsmith-image", "validate", f"dist/{image}", "--keep-running"])
