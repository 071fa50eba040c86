"""What a check is: a question, the answer it expects, and how the two become a result."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ci.boot.vm.ssh import CommandResult
from ci.records.validation import CheckResult, Outcome

NOTHING = "(nothing)"


class Matcher(Protocol):
    """Judges the output of a command, which comes without its surrounding white space."""

    def describe(self) -> str:
        """The expectation in words, or as the text itself."""
        ...

    def accepts(self, output: str) -> bool:
        """Whether `output` is as expected."""
        ...


@dataclass(frozen=True, slots=True)
class Equals:
    """Exactly this text."""

    text: str

    def describe(self) -> str:
        return self.text or NOTHING

    def accepts(self, output: str) -> bool:
        return output == self.text


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
class Empty:
    """Nothing at all."""

    def describe(self) -> str:
        return NOTHING

    def accepts(self, output: str) -> bool:
        return output == ""


@dataclass(frozen=True, slots=True)
class Between:
    """A number from `low` to `high`, both included."""

    low: float
    high: float
    unit: str

    def describe(self) -> str:
        return f"{self.low:g} to {self.high:g} {self.unit}"

    def accepts(self, output: str) -> bool:
        number = _number(output)
        return number is not None and self.low <= number <= self.high


@dataclass(frozen=True, slots=True)
class AtLeast:
    """A number of at least `low`."""

    low: float
    unit: str

    def describe(self) -> str:
        return f"at least {self.low:g} {self.unit}"

    def accepts(self, output: str) -> bool:
        number = _number(output)
        return number is not None and number >= self.low


@dataclass(frozen=True, slots=True)
class Lines:
    """Exactly these lines, in any order."""

    lines: tuple[str, ...]

    def describe(self) -> str:
        return "\n".join(sorted(self.lines)) or NOTHING

    def accepts(self, output: str) -> bool:
        return sorted(output.splitlines()) == sorted(self.lines)


@dataclass(frozen=True, slots=True)
class JsonHas:
    """A JSON document with these values. Each path has its keys joined by dots."""

    values: tuple[tuple[str, object], ...]

    def describe(self) -> str:
        return "\n".join(f"{path}: {json.dumps(value)}" for path, value in self.values)

    def accepts(self, output: str) -> bool:
        try:
            document = json.loads(output)
        except ValueError:
            return False
        return all(_at(document, path) == (True, value) for path, value in self.values)


def _number(output: str) -> float | None:
    # float() also takes "nan" and "1_0", which no tool means as a number.
    return float(output) if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", output) else None


def _at(document: object, path: str) -> tuple[bool, object]:
    for key in path.split("."):
        if not isinstance(document, dict) or key not in document:
            return False, None
        document = document[key]
    return True, document


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something the boot test looks at itself. `id` is its heading in docs/validation.md."""

    id: str
    title: str
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandCheck:
    """A shell command for the guest, and what it should print.

    It has failed too when its exit status is not 0 or it writes to stderr: a command that could not look must not
    pass for one that found nothing. `root` runs it under sudo. `skip` is why it cannot run.
    """

    id: str
    title: str
    command: str
    expected: Matcher
    root: bool = False
    skip: str = ""


def result(check: Check, boot: str, *, passed: bool, actual: str, seconds: float = 0.0) -> CheckResult:
    """The result of a check that the boot test judged itself."""
    return CheckResult(
        id=check.id,
        boot=boot,
        title=check.title,
        expected=check.expected,
        actual=actual or NOTHING,
        outcome=Outcome.PASSED if passed else Outcome.FAILED,
        seconds=round(seconds, 2),
    )


def skipped(check: Check | CommandCheck, boot: str, reason: str) -> CheckResult:
    """The result of a check that could not run."""
    return CheckResult(
        id=check.id,
        boot=boot,
        title=check.title,
        expected=check.expected if isinstance(check, Check) else check.expected.describe(),
        actual=reason,
        outcome=Outcome.SKIPPED,
        seconds=0.0,
    )


def judge(check: CommandCheck, boot: str, answer: CommandResult) -> CheckResult:
    """The result of a command that ended."""
    output = answer.stdout.strip()
    complaints = answer.stderr.strip()
    parts = [output]
    if answer.exit_status != 0:
        parts.append(f"exit status {answer.exit_status}")
    if complaints:
        parts.append(f"stderr: {complaints}")
    passed = len(parts) == 1 and check.expected.accepts(output)
    return command_result(check, boot, passed=passed, actual="\n".join(filter(None, parts)), seconds=answer.seconds)


def command_result(check: CommandCheck, boot: str, *, passed: bool, actual: str, seconds: float) -> CheckResult:
    """The result of a command, judged already."""
    plain = Check(id=check.id, title=check.title, expected=check.expected.describe())
    return result(plain, boot, passed=passed, actual=actual, seconds=seconds)


def not_reached(
    planned: Sequence[Check | CommandCheck], done: Sequence[CheckResult], boot: str, reason: str
) -> list[CheckResult]:
    """Every planned check that has no result yet, as skipped: a report always names all of them."""
    seen = {check.id for check in done}
    return [skipped(check, boot, reason) for check in planned if check.id not in seen]
