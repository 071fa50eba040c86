"""What a check is: a question, the answer it expects, and how the two become a result."""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem

from ci.boot.vm.ssh import CommandResult
from ci.records.validation import CheckResult, Outcome

NOTHING = "(nothing)"
LINES_BELOW = "the lines below it, in any order"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a command must print: in words, and as a judgement of its output, without the white space around it.

    `phrase` is what docs/validation.md says, where that is not in the same words.
    """

    words: str
    accepts: Callable[[str], bool]
    phrase: str = ""


def exactly(*lines: str) -> Expectation:
    """Exactly these lines, in any order."""
    words = "\n".join(sorted(lines)) or NOTHING
    phrase = LINES_BELOW if len(lines) > 1 else f"`{words}`" if lines else "nothing"
    return Expectation(words, lambda output: sorted(output.split("\n") if output else []) == sorted(lines), phrase)


def matching(pattern: str, meaning: str) -> Expectation:
    """All of the output matches a regular expression; `meaning` says in words what it stands for."""
    return Expectation(meaning, lambda output: re.fullmatch(pattern, output) is not None)


def number_within(low: float, high: float | None, unit: str) -> Expectation:
    """A number from `low` to `high`, both included; as large as it likes without `high`."""

    def accepts(output: str) -> bool:
        # float() also takes "nan" and "1_0", which no tool means as a number.
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", output):
            return False
        return low <= float(output) and (high is None or float(output) <= high)

    return Expectation(f"{f'at least {low:g}' if high is None else f'{low:g} to {high:g}'} {unit}", accepts)


def json_with(values: Mapping[str, object]) -> Expectation:
    """A JSON document with these values. Each path has its keys joined by dots."""

    def accepts(output: str) -> bool:
        try:
            document = json.loads(output)
            return all(reduce(getitem, path.split("."), document) == value for path, value in values.items())
        except (ValueError, LookupError, TypeError):  # no JSON, no such key, nothing that has keys
            return False

    words = "\n".join(f"{path}: {json.dumps(value)}" for path, value in values.items())
    return Expectation(
        words, accepts, f"JSON with {', '.join(f'`{path}`: `{value}`' for path, value in values.items())}"
    )


def accepts_nothing(_: str) -> bool:
    """For what the boot test judges itself, or knows only when it runs."""
    return False


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
            expected=self.expected.words,
            actual=actual or NOTHING,
            outcome=Outcome.PASSED if passed else Outcome.FAILED,
            seconds=seconds,
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
