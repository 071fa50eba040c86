"""What differs when a release is built again, and which of it is expected: by a list with a reason for each entry."""

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ci.comparison.packages import compare
from ci.comparison.pull_request import Evidence
from ci.host.errors import InputError
from ci.records.packages import Package, PackageDiff
from ci.records.release import ImageRelease
from ci.text.markdown import Markdown, code, link, table

LABEL = "drift"
MARKER = "<!-- fountainkit-toolsmith-image: drift "
# GitHub takes 65,536 characters for an issue; see ci/release/notes.py.
LIMIT = 50_000
ROWS = (200, 60, 15, 0)


class Kind(StrEnum):
    """In what a rebuilt image may differ."""

    NOT_BUILT = "not-built"
    COMMIT = "commit"
    DEFINITION = "definition"
    BASE = "base"
    DISK = "disk"
    KERNEL = "kernel"
    BYTES = "bytes"
    ADDED = "package-added"
    REMOVED = "package-removed"
    UPGRADED = "package-upgraded"
    DOWNGRADED = "package-downgraded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference of one image; `name` is the package's, or empty."""

    image: str
    kind: Kind
    name: str = ""
    before: str = ""
    after: str = ""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rule(_Section):
    """Differences that are expected: of these kinds, in images and packages whose names match one of the patterns."""

    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    names: tuple[str, ...] = ("*",)
    images: tuple[str, ...] = ("*",)
    reason: Annotated[str, Field(min_length=20)]

    def covers(self, one: Difference) -> bool:
        """True where the difference is expected by this rule."""
        return (
            one.kind in self.kinds
            and any(fnmatchcase(one.name, pattern) for pattern in self.names)
            and any(fnmatchcase(one.image, pattern) for pattern in self.images)
        )


class _Rules(_Section):
    expected: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All differences: those that no rule covers, and how many each rule covers."""

    unexpected: tuple[Difference, ...]
    expected: tuple[tuple[Rule, int], ...]

    @property
    def digest(self) -> str:
        """The same for the same unexpected differences."""
        rows = sorted(astuple(one) for one in self.unexpected)
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The list of what is expected; raises InputError where it is not one."""
    try:
        return _Rules.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).expected
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="Correct the line it names.") from error
    except ValidationError as error:
        raise InputError(
            f"{path} is not a list of expected differences",
            hint=f"Each [[expected]] has `kinds` ({', '.join(Kind)}) and a `reason`; it may have `names` and `images`.",
            details=str(error),
        ) from error


def differences(
    past: ImageRelease, commit: str, packages: Sequence[Package], now: Evidence | None
) -> tuple[Difference, ...]:
    """In what an image of a release, and what was built again from the same, differ; `now` is None if that failed."""
    image = past.definition
    if now is None:
        return (Difference(image=image, kind=Kind.NOT_BUILT),)
    build = now.build
    facts = (
        (Kind.COMMIT, commit, build.commit),
        (Kind.DEFINITION, past.definition_sha256, build.definition_sha256),
        (Kind.BASE, past.base.sha256, build.base.sha256),
        (Kind.DISK, str(past.virtual_size), str(build.image.virtual_size)),
        (Kind.KERNEL, past.kernel, build.kernel),
        (Kind.BYTES, past.qcow2.sha256, build.image.sha256),
    )
    changed = [
        Difference(image=image, kind=kind, before=before, after=after)
        for kind, before, after in facts
        if before != after
    ]
    return (*changed, *_of_packages(image, compare(packages, now.packages)))


def _of_packages(image: str, diff: PackageDiff) -> Iterator[Difference]:
    for package in diff.removed:
        yield Difference(image=image, kind=Kind.REMOVED, name=package.name, before=package.version)
    for package in diff.added:
        yield Difference(image=image, kind=Kind.ADDED, name=package.name, after=package.version)
    for kind, changes in ((Kind.DOWNGRADED, diff.downgraded), (Kind.UPGRADED, diff.upgraded)):
        for change in changes:
            yield Difference(
                image=image, kind=kind, name=change.new.name, before=change.old.version, after=change.new.version
            )


def judge(found: Sequence[Difference], rules: Sequence[Rule]) -> Verdict:
    """Sort differences by the first rule that covers each."""
    covered: Counter[int] = Counter()
    unexpected = []
    for one in found:
        number = next((number for number, rule in enumerate(rules) if rule.covers(one)), None)
        if number is None:
            unexpected.append(one)
        else:
            covered[number] += 1
    return Verdict(
        unexpected=tuple(unexpected),
        expected=tuple((rules[number], count) for number, count in sorted(covered.items())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A verdict on a release; `url` is the release's page, `run` that of the run."""

    tag: str
    url: str
    verdict: Verdict
    run: str | None

    @property
    def title(self) -> str:
        """The issue's title."""
        return f"{self.tag} can no longer be built as it was"

    @property
    def marker(self) -> str:
        """A line that is the same only for the same unexpected differences from the same release."""
        return f"{MARKER}{self.tag} {self.verdict.digest} -->"

    def text(self) -> Markdown:
        """The report, with as many differences as there is room for."""
        texts = (self._text(rows) for rows in ROWS)
        return next((text for text in texts if len(text.encode()) <= LIMIT), self._text(0, reasons=0))

    def _text(self, rows: int, reasons: int = 100) -> Markdown:
        unexpected = self.verdict.unexpected
        blocks = (
            f"{link(code(self.tag), self.url)} was built again, from the same commit, base and version.",
            f"**{len(unexpected)} differences that nobody expects:**" if unexpected else "Nothing unexpected differs.",
            table(("image", "difference", "name", "released", "built again"), [_row(one) for one in unexpected[:rows]]),
            f"{len(unexpected) - rows} more are not shown here." if len(unexpected) > rows else "",
            table(
                ("expected differences", "because"),
                [(Markdown(str(count)), code(rule.reason)) for rule, count in self.verdict.expected[:reasons]],
            ),
            ADVICE if unexpected else "",
            link("The run", self.run) + " has the reports and the logs." if self.run else "",
        )
        return Markdown("\n\n".join(block for block in blocks if block) + "\n")


ADVICE = (
    "Find out why, and either repair it, or add what is right to `build/drift.toml`, with the reason. Later runs bring "
    "this issue up to date; only a person closes it."
)


def _row(one: Difference) -> tuple[Markdown, ...]:
    cells = (one.name, one.before, one.after)
    return (code(one.image), code(one.kind), *(code(text) if text else Markdown("-") for text in cells))
