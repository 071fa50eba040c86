"""Downloads over several connections, from a real server that is slow, moody, or not what it seems."""

import hashlib
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from ci.fetch.download import Downloaded, download
from ci.fetch.open_url import Client
from ci.fetch.ranges import SINGLE, Lanes
from ci.fetch.session import Limits
from ci.host.errors import FetchError, VerificationError
from ci.host.progress import quiet_reporter
from tests.support.fault_server import Dribble, Fault, FaultServer

pytestmark = pytest.mark.integration

BODY = os.urandom(3_000_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
SEGMENT = 200_000
# As if every server were slow: the first connection gives way after its first bytes.
AT_ONCE = Lanes(connections=4, segment=SEGMENT, trial=0, patience=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FaultServer() as running:
        yield running


def fetch(
    url: str,
    folder: Path,
    *,
    sha256: str | None = DIGEST,
    lanes: Lanes = AT_ONCE,
    limits: Limits | None = None,
    attempts: int = 6,
) -> Downloaded:
    return download(
        url,
        folder / "image",
        sha256=sha256,
        reporter=quiet_reporter(),
        client=Client(lanes=lanes, limits=limits or Limits()),
        attempts=attempts,
        sleep=lambda _: None,
    )


def segments(server: FaultServer) -> list[str]:
    """The ranges that were asked for and have an end."""
    return [wanted for wanted in server.ranges("/image") if wanted and not wanted.endswith("-")]


def test_a_slow_server_is_asked_by_several_connections_at_a_time(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, offers_ranges=True)
    together = threading.Barrier(4)  # each of the four waits for the others
    server.arm("/image", Fault(cut_after=100_000), *[Fault(before=lambda: together.wait(30))] * 4)
    assert fetch(url, tmp_path).sha256 == DIGEST
    assert not together.broken
    assert (tmp_path / "image").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["image"]
    starts = sorted(int(wanted.removeprefix("bytes=").partition("-")[0]) for wanted in segments(server))
    assert [b - a for a, b in pairwise(starts)] == [SEGMENT] * (len(starts) - 1)
    assert {request.headers["If-Range"] for request in server.requests[1:]} == {'"1"'}


def test_a_server_that_is_quick_enough_keeps_its_one_connection(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, offers_ranges=True)
    fetch(url, tmp_path, lanes=Lanes(connections=4, segment=SEGMENT, trial=0, patience=3600))
    assert server.ranges("/image") == [None]


@pytest.mark.parametrize(("etag", "offers_ranges"), [(None, True), ('W/"1"', True), ('"1"', False)])
def test_without_ranges_and_a_strong_etag_one_connection_does_it_all(
    server: FaultServer, tmp_path: Path, etag: str | None, *, offers_ranges: bool
) -> None:
    fetch(server.publish("/image", BODY, etag=etag, offers_ranges=offers_ranges), tmp_path)
    assert server.ranges("/image") == [None]


def test_a_file_replaced_between_two_ranges_is_never_mixed(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", os.urandom(len(BODY)), etag='"old"', offers_ranges=True)
    replace = Fault(after=lambda: server.publish("/image", BODY, etag='"new"', offers_ranges=True))
    server.arm("/image", Fault(), Fault(), replace)
    assert fetch(url, tmp_path, sha256=None).sha256 == DIGEST
    assert len([wanted for wanted in server.ranges("/image") if wanted is None]) == 2  # once per file


def test_a_server_that_ignores_if_range_is_seen_through(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", os.urandom(len(BODY)), etag='"old"', offers_ranges=True)
    replace = Fault(after=lambda: server.publish("/image", BODY, etag='"new"', offers_ranges=True))
    server.arm("/image", replace, *[Fault(ignore_condition=True)] * 9)
    assert fetch(url, tmp_path, sha256=None).sha256 == DIGEST


def test_a_file_replaced_under_the_same_etag_is_refused_by_its_digest(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, offers_ranges=True)
    server.arm("/image", Fault(after=lambda: server.publish("/image", os.urandom(len(BODY)), offers_ranges=True)))
    with pytest.raises(VerificationError):
        fetch(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 429, 503])
def test_where_more_connections_are_refused_one_goes_on(server: FaultServer, tmp_path: Path, status: int) -> None:
    url = server.publish("/image", BODY, offers_ranges=True)
    server.further_connections = status
    assert fetch(url, tmp_path).sha256 == DIGEST
    unbounded = [wanted for wanted in server.ranges("/image") if wanted not in segments(server)]
    assert len(unbounded) == 2  # it went on, and neither began again nor insisted
    assert str(unbounded[1]).endswith("-")


def test_ranges_that_are_offered_and_not_kept_cost_nothing_but_time(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, offers_ranges=True)
    server.arm("/image", *[Fault(ignore_range=True)] * 9)
    assert fetch(url, tmp_path).sha256 == DIGEST


def test_a_connection_that_breaks_costs_its_range_only(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, offers_ranges=True)
    server.arm("/image", Fault(), Fault(), Fault(cut_after=1000), Fault())
    assert fetch(url, tmp_path).sha256 == DIGEST


def test_the_next_run_continues_what_many_connections_left(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, offers_ranges=True)
    server.arm("/image", Fault(), Fault(), Fault(), *[Fault(cut_after=1)] * 5)
    with pytest.raises(FetchError):
        fetch(url, tmp_path, attempts=1)
    before = (tmp_path / "image.part").read_bytes()
    assert before == BODY[: len(before)]
    assert before
    server.faults.clear()
    assert fetch(url, tmp_path, attempts=1).sha256 == DIGEST
    assert f"bytes={len(before)}-" in server.ranges("/image")


IMPATIENT = Limits(silence=5, headers=0.3, window=0.3, slowest=100_000)


@pytest.mark.parametrize("dribble", list(Dribble))
def test_a_server_that_sends_a_byte_now_and_then_is_left(server: FaultServer, tmp_path: Path, dribble: Dribble) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", Fault(dribble=dribble, cut_after=1_000_000))
    assert fetch(url, tmp_path, lanes=SINGLE, limits=IMPATIENT).sha256 == DIGEST
    assert len(server.requests) == 2


@pytest.mark.parametrize("dribble", list(Dribble))
def test_a_server_that_never_does_better_is_given_up(server: FaultServer, tmp_path: Path, dribble: Dribble) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", *[Fault(dribble=dribble, cut_after=0)] * 2)
    with pytest.raises(FetchError, match=r"did not answer in time|bytes came in"):
        fetch(url, tmp_path, lanes=SINGLE, limits=IMPATIENT, attempts=2)
    assert not (tmp_path / "image").exists()


def test_drops_at_every_tenth_of_the_file_are_no_reason_to_give_up(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", *[Fault(cut_after=300_000)] * 9)
    assert fetch(url, tmp_path, lanes=SINGLE, attempts=2).sha256 == DIGEST
    assert server.ranges("/image") == [None, *[f"bytes={tenth * 300_000}-" for tenth in range(1, 10)]]


def test_a_server_that_stands_still_is_given_up_even_after_progress(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, etag=None)
    server.arm("/image", *[Fault(cut_after=1_000_000)] * 9)  # without an ETag each begins anew
    with pytest.raises(FetchError):
        fetch(url, tmp_path, attempts=3)
    assert len(server.requests) == 3


def test_a_redirect_loop_ends(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", *[Fault(status=302, headers={"Location": "/image"})] * 50)
    with pytest.raises(FetchError, match="in a circle"):
        fetch(url, tmp_path)
    assert len(server.requests) < 15
    assert list(tmp_path.iterdir()) == []


def test_headers_that_break_off_are_not_an_empty_file(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", Fault(headers={"Content-Length": "unknown", "Connection": "close"}, cut_after=0))
    assert fetch(url, tmp_path).sha256 == DIGEST
