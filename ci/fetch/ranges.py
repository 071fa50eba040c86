"""Several connections for one object, where a single one is slow; its bytes still come in order.

Order is what keeps a download simple: it hashes as it writes, and what is on disk is always a whole beginning. Runs on
Python 3.10 too, for consumers of the image.
"""

import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from http import HTTPStatus

import requests

from ci.fetch.session import Bearer, Limits, body, get, new_session, require_success
from ci.fetch.source import AbsentError, CrowdedError, Source, StalePartError, TransientError
from ci.host.errors import ToolsmithError

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """When to use several connections, and how: `connections` times `segment` bytes are held in memory.

    The first connection runs alone for `trial` seconds; where the rest would take it more than `patience` seconds,
    all `connections` fetch a `segment` each, in turns.
    """

    connections: int = 4
    segment: int = 4 << 20
    trial: float = 1.0
    patience: float = 8.0

    @classmethod
    def of(cls, connections: int) -> "Lanes":
        """So many connections, in the memory that the usual number takes."""
        usual = cls()
        return cls(connections=connections, segment=usual.segment * usual.connections // max(connections, 4))


SINGLE = Lanes(connections=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The object whose ranges are fetched: where it is at the end of all redirects, and its strong ETag."""

    url: str
    total: int
    etag: str
    bearer: Bearer | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class _Task:
    wanted: range
    result: "Future[list[bytes]]"


def widened(
    source: Source, whole: Whole, lanes: Lanes, response: requests.Response, clock: Callable[[], float] = time.monotonic
) -> Iterator[bytes]:
    """The chunks of `source`, which `response` delivers; from some point on by several connections, if it is slow."""
    position = mark = source.offset
    since = clock()
    for chunk in source.chunks:
        yield chunk
        position += len(chunk)
        seconds = clock() - since
        if seconds >= lanes.trial:
            left = whole.total - position
            if left > lanes.segment and left * seconds >= lanes.patience * (position - mark):
                break
            mark, since = position, clock()
    else:
        return
    response.close()
    yield from fetch_ranges(whole, position, lanes)


def fetch_ranges(whole: Whole, start: int, lanes: Lanes) -> Iterator[bytes]:
    """The object's bytes from `start` on. Raises TransientError where a range did not come, after all before it."""
    ranges = deque(
        range(begin, min(begin + lanes.segment, whole.total)) for begin in range(start, whole.total, lanes.segment)
    )
    tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
    stop = threading.Event()
    for number in range(min(lanes.connections, len(ranges))):
        threading.Thread(target=_work, args=(whole, tasks, stop), name=f"lane-{number}", daemon=True).start()
    pending: deque[_Task] = deque()
    try:
        while ranges or pending:
            while ranges and len(pending) <= lanes.connections:
                pending.append(_Task(ranges.popleft(), Future()))
                tasks.put(pending[-1])
            yield from pending.popleft().result.result()
    finally:
        stop.set()
        for _ in range(lanes.connections):
            tasks.put(None)


def _work(whole: Whole, tasks: "queue.SimpleQueue[_Task | None]", stop: threading.Event) -> None:
    with new_session(whole.limits) as session:
        while (task := tasks.get()) is not None and not stop.is_set():
            try:
                task.result.set_result(_fetch(session, whole, task.wanted, stop))
            except BaseException as failure:  # noqa: BLE001 - it is raised again where the result is awaited
                task.result.set_exception(failure)


def _fetch(session: requests.Session, whole: Whole, wanted: range, stop: threading.Event) -> list[bytes]:
    headers = {"Range": f"bytes={wanted.start}-{wanted.stop - 1}", "If-Range": whole.etag}
    try:
        with get(session, whole.url, whole.limits, headers=headers, bearer=whole.bearer) as response:
            _require_range(whole, response, wanted)
            chunks: list[bytes] = []
            for chunk in body(response, whole.limits):
                chunks.append(chunk)
                if stop.is_set():
                    break
    except (AbsentError, ToolsmithError) as failure:
        # The first answer was good. A signed address may have expired, or the server wants no more connections.
        raise CrowdedError(f"a further connection was refused: {failure}", retry_after=0) from failure
    if sum(map(len, chunks)) != len(wanted):
        raise TransientError("a range came incomplete")
    return chunks


def _require_range(whole: Whole, response: requests.Response, wanted: range) -> None:
    if response.headers.get("ETag", whole.etag) != whole.etag:
        raise StalePartError("the server's file was replaced on the way", retry_after=0)
    try:
        require_success(whole.url, response)
    except TransientError as failure:
        raise CrowdedError(failure.reason, retry_after=failure.retry_after) from failure
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status_code != HTTPStatus.PARTIAL_CONTENT or match is None:
        raise CrowdedError("the server does not keep to ranges", retry_after=0)
    if (int(match[1]), int(match[2])) != (wanted.start, wanted.stop - 1) or match[3] not in {"*", str(whole.total)}:
        raise StalePartError("the server sent another range than the one asked for", retry_after=0)
