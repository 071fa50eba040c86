"""What a check is: a question, the answer it expects, and how the two become a result."""

import json
import re
import shlex
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import TypeAlias

from ci.boot.vm.ssh import CommandResult
from ci.records.validation import CheckResult, Outcome

NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class Lines:
    """Exactly these lines, in any order."""

    lines: tuple[str, ...]

    def describe(self) -> str:
        return "\n".join(sorted(self.lines)) or NOTHING

    def accepts(self, output: str) -> bool:
        return sorted(output.split("\n") if output else []) == sorted(self.lines)


@dataclass(frozen=True, slots=True)
class Matches:
    """All of the output matches a regular expression; `meaning` says in words what it stands for."""

    pattern: str
    meaning: str

    def describe(self) -> str:
        return self.meaning

    def accepts(self, output: str) -> bool:
        return re.fullmatch(self.pattern, output) is not None


@dataclass(frozen=True, slots=True)
class NumberWithin:
    """A number from `low` to `high`, both included; as large as it likes without `high`."""

    low: float
    high: float | None
    unit: str

    def describe(self) -> str:
        return f"{f'at least {self.low:g}' if self.high is None else f'{self.low:g} to {self.high:g}'} {self.unit}"

    def accepts(self, output: str) -> bool:
        # float() also takes "nan" and "1_0", which no tool means as a number.
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", output):
            return False
        return self.low <= float(output) and (self.high is None or float(output) <= self.high)


@dataclass(frozen=True, slots=True)
class JsonHas:
    """A JSON document with these values. Each path has its keys joined by dots."""

    values: tuple[tuple[str, object], ...]

    def describe(self) -> str:
        return "\n".join(f"{path}: {json.dumps(value)}" for path, value in self.values)

    def accepts(self, output: str) -> bool:
        try:
            document = json.loads(output)
            return all(reduce(getitem, path.split("."), document) == value for path, value in self.values)
        except (ValueError, LookupError, TypeError):  # no JSON, no such key, nothing that has keys
            return False


@dataclass(frozen=True, slots=True)
class Words:
    """What the boot test judges itself, or knows only when it runs. No output is accepted for it."""

    text: str

    def describe(self) -> str:
        return self.text

    def accepts(self, output: str) -> bool:  # noqa: ARG002
        return False


# Each says what it expects, and judges the output of a command, which comes without its surrounding white space.
Expectation: TypeAlias = Lines | Matches | NumberWithin | JsonHas | Words


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCheck:
    """One thing that an image is checked for; checks.toml says what the fields mean.

    A command has failed too when its exit status is not 0 or it writes to stderr: one that could not look must not
    pass for one that found nothing. Without a command the boot test judges itself, and `by_hand` is how a person does.
    """

    id: str
    title: str
    boots: tuple[str, ...]
    why: str
    expected: Expectation
    look_for: str
    command: str = ""
    root: bool = False
    by_hand: str = ""

    def shell_line(self) -> str:
        """What is sent to the guest: every part of a pipeline must succeed, not only its last."""
        return f"{'sudo -n ' if self.root else ''}bash -o pipefail -c {shlex.quote(self.command)}"

    def result(self, boot: str, *, passed: bool, actual: str, seconds: float = 0.0) -> CheckResult:
        """The result of this check, judged already."""
        return CheckResult(
            id=self.id,
            boot=boot,
            title=self.title,
            expected=self.expected.describe(),
            actual=actual or NOTHING,
            outcome=Outcome.PASSED if passed else Outcome.FAILED,
            seconds=round(seconds, 2),
        )

    def skipped(self, boot: str, reason: str) -> CheckResult:
        """The result where it could not run."""
        return self.result(boot, passed=False, actual=reason).model_copy(update={"outcome": Outcome.SKIPPED})

    def judge(self, boot: str, answer: CommandResult) -> CheckResult:
        """The result where its command ended."""
        output, complaints = answer.stdout.strip(), answer.stderr.strip()
        parts = [output]
        if answer.exit_status != 0:
            parts.append(f"exit status {answer.exit_status}")
        if complaints:
            parts.append(f"stderr: {complaints}")
        passed = len(parts) == 1 and self.expected.accepts(output)
        return self.result(boot, passed=passed, actual="\n".join(filter(None, parts)), seconds=answer.seconds)
