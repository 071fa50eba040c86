"""The requests of a whole release and roll-out, and the faults that each of them is put through.

By default one request of each kind is put through all of them: how a failure is told, and what is repeated, is the
kind's. With --full every request is.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ci.rehearsal.exchanges import Exchange
from ci.rehearsal.faults import Effect, Fault, Moment
from ci.release.dist import REQUIRED

# Without its answer a release goes on.
NOTES = "POST releases/generate-notes"
# On top of an earlier release. A test compares it with what is really asked; the matrix has a row for each line.
PUBLISH = (
    "GET repository",
    "GET git/ref/tags/TAG",
    "GET releases",
    "GET immutable-releases",
    "GET download release.json",
    "GET store release.json",
    "GET download .packages.tsv",
    "GET store .packages.tsv",
    NOTES,
    "POST releases",
    "GET releases",
    "GET releases/ID/assets",
    *(f"UPLOAD {suffix}" for suffix in REQUIRED),
    "UPLOAD ensure-vm.pyz",
    "UPLOAD manifest-snippet.json",
    "UPLOAD release.json",
    "GET releases/ID/assets",
    "GET releases/ID",
    "GET git/ref/tags/TAG",
    "PATCH releases/ID",
    "GET git/ref/tags/TAG",
)
ROLL_OUT = (
    "GET releases/tags/TAG",
    "GET download release.json",
    "GET store release.json",
    "GET git/ref/tags/TAG",
    "GET repository",
    "GET git/ref/heads/main",
    "GET git/commits/SHA",
    "GET git/trees/SHA",  # the root
    "GET git/trees/SHA",  # manifests
    "GET git/blobs/SHA",  # the manifest
    "GET git/trees/SHA",  # docs
    "GET git/blobs/SHA",  # the changelog
    "GET git/trees/SHA",  # releases
    "GET pulls",
    "GET git/ref/heads/rollout/TAG",
    "GET repository",  # is it still what it was?
    "GET releases/tags/TAG",
    "GET git/ref/tags/TAG",
    "POST git/trees",
    "POST git/commits",
    "POST git/refs",
    "POST pulls",
    "GET releases/tags/TAG",  # and now?
    "GET git/ref/tags/TAG",
    "GET repository",
)
WHOLE = (*PUBLISH, *ROLL_OUT)

# One request of each kind, at its first place. The last is of a second run.
KINDS = (
    "GET repository",  # an object
    "GET immutable-releases",  # one whose refusal is an answer too
    "GET releases",  # a list, in pages
    "GET download release.json",  # an address that leads to another
    "GET store release.json",  # bytes
    "POST releases",  # something is made
    "UPLOAD .qcow2",  # bytes on their way out
    "PATCH releases/ID",  # something is changed
    "POST git/trees",  # made, and pointed to by nothing yet
    "DELETE releases/assets/",  # removed
)

# How long a limit lasts: a wait that no other failure leads to.
LIMIT_SECONDS = 7
FOR_EVER = 10_000
MIDWAY_FILE = "UPLOAD .qcow2"

_NAMES = (
    (r"^/api/uploads", ""),
    (r"^/repos/[^/]+/[^/]+/?", ""),
    (r"^/[^/]+/[^/]+/releases/download/[^/]+/", "download "),
    (r"^/release-assets/\d+/", "store "),
    (r"fountainkit-toolsmith-debian-12-v[\d.]+\d", ""),
    (r"v\d{4}\.\d\d\.\d\d(\.\d+)?", "TAG"),
    (r"\b[0-9a-f]{40}\b", "SHA"),
    (r"\b\d{2,}\b", "ID"),
)


def name(exchange: Exchange) -> str:
    """A request as it is called here."""
    if exchange.path.startswith("/api/uploads"):
        return f"UPLOAD {_plain(exchange.query['name'])}"
    return f"{exchange.method} {_plain(exchange.path) or 'repository'}"


def _plain(text: str) -> str:
    for pattern, replacement in _NAMES:
        text = re.sub(pattern, replacement, text)
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault at one request. `heals` tells whether a single run must get over it."""

    step: str
    fault: Fault
    heals: bool = True

    @property
    def patience(self) -> dict[str, float]:
        """The changes to a client's that spare waiting for a hang; PyGithub's shortest timeout is a second."""
        return {"timeout": 1, "upload_timeout": 1.0} if self.fault.effect is Effect.HANG else {}

    @property
    def limit(self) -> bool:
        return self.fault.effect in {Effect.SECONDARY_LIMIT, Effect.TOO_MANY_REQUESTS, Effect.PRIMARY_LIMIT}


def faults(step: str, call: int, upload: int = 1) -> Iterator[tuple[str, Case]]:
    """What can happen to a request, by name; it is the `call`-th of all, and the `upload`-th of the uploads."""

    def case(effect: Effect, moment: Moment = Moment.BEFORE, *, heals: bool = True, **more: Any) -> Case:  # noqa: ANN401
        number = upload if effect is Effect.STARTER or moment is Moment.MIDWAY else call
        return Case(step=step, fault=Fault(effect=effect, moment=moment, call=number, **more), heals=heals)

    yield "502", case(Effect.BAD_GATEWAY)
    yield "reset before", case(Effect.RESET)
    yield "reset after", case(Effect.RESET, Moment.AFTER)
    yield "hang before", case(Effect.HANG)
    yield "403 secondary", case(Effect.SECONDARY_LIMIT, seconds=LIMIT_SECONDS)
    yield "403 primary", case(Effect.PRIMARY_LIMIT, seconds=LIMIT_SECONDS)
    yield "429", case(Effect.TOO_MANY_REQUESTS, seconds=LIMIT_SECONDS)
    yield "page", case(Effect.PAGE)
    yield "deep JSON", case(Effect.DEEP)
    # Bytes may come from anywhere; there, nobody answers.
    yield "elsewhere", case(Effect.ELSEWHERE, heals=step.startswith(("GET download", "GET store", NOTES)))
    yield "circle", case(Effect.CIRCLE, times=FOR_EVER, heals=False)
    yield "outage", case(Effect.BAD_GATEWAY, times=FOR_EVER, heals=False)
    if not step.startswith("GET"):
        # To who only reads, an answer that was lost is the same as one that was never made.
        yield "hang after", case(Effect.HANG, Moment.AFTER)
        yield "502 after", case(Effect.BAD_GATEWAY, Moment.AFTER)
        yield "page after", case(Effect.PAGE, Moment.AFTER)
        yield "elsewhere after", case(Effect.ELSEWHERE, Moment.AFTER, heals=step == NOTES)
        yield "outage after", case(Effect.RESET, Moment.AFTER, times=FOR_EVER, heals=False)
    if step.startswith("UPLOAD"):
        yield "starter", case(Effect.STARTER)
        yield "starter for ever", case(Effect.STARTER, times=FOR_EVER, heals=False)
    if step == MIDWAY_FILE:
        yield "502 midway", case(Effect.BAD_GATEWAY, Moment.MIDWAY)
        yield "reset midway", case(Effect.RESET, Moment.MIDWAY)
        yield "hang midway", case(Effect.HANG, Moment.MIDWAY)


def kills(step: str, call: int, upload: int = 1) -> Iterator[tuple[str, Case]]:
    """When our process can be killed at a request: before it is acted upon, in its middle, after."""
    moments = [Moment.BEFORE]
    if not step.startswith("GET"):
        moments.append(Moment.AFTER)
    if step == MIDWAY_FILE:
        moments.append(Moment.MIDWAY)
    for moment in moments:
        fault = Fault(effect=Effect.PAUSE, moment=moment, call=upload if moment is Moment.MIDWAY else call)
        yield f"killed {moment}", Case(step=step, fault=fault, heals=False)


def rows(steps: Sequence[str], kind: Any) -> list[Any]:  # noqa: ANN401 - pytest's parameter sets
    """All cases of a sequence, as parameters with names such as `08 POST releases: reset after`."""
    return [
        pytest.param(case, id=f"{call:02} {step}: {what}", marks=marks(case, first=step not in steps[: call - 1]))
        for call, step in enumerate(steps, start=1)
        for what, case in kind(step, call, sum(one.startswith("UPLOAD") for one in steps[:call]))
    ]


def marks(case: Case, *, first: bool = True) -> list[pytest.MarkDecorator]:
    """`full` for what is shown at another request of the kind.

    What was done when the answer, or the process, was lost is each write's own; but the further uploads are told apart
    by their names only. To be killed at a read is to be killed after the write before it.
    """
    fault, step = case.fault, case.step
    killed, lost = fault.effect is Effect.PAUSE, fault.moment is Moment.AFTER and fault.times == 1
    if step in KINDS and first and not (killed and step.startswith("GET")):
        return []
    if lost and fault.effect in {Effect.RESET, Effect.PAUSE} and not step.startswith(("GET", "UPLOAD")):
        return []
    return [pytest.mark.full]
