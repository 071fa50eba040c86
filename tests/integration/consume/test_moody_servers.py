"""Downloads from a real server that is slow, moody, or not what it seems."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from ci.fetch.download import Downloaded, download
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host.errors import FetchError, VerificationError
from tests.support.fault_server import Dribble, Fault, FaultServer
from tests.support.quiet import quiet_reporter

pytestmark = pytest.mark.integration

BODY = os.urandom(3_000_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
PATIENT = Patience(sleep=lambda _: None)
IMPATIENT = replace(PATIENT, timeout=1, crawl=100_000)


def fetch(url: str, folder: Path, *, sha256: str | None = DIGEST, patience: Patience = PATIENT) -> Downloaded:
    client = Client(patience=patience)
    return download(url, folder / "image", sha256=sha256, reporter=quiet_reporter(), client=client)


def test_a_server_that_ignores_if_range_is_seen_through(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", os.urandom(len(BODY)), etag='"old"')
    renew = Fault(cut_after=1_000_000, after=lambda: server.publish("/image", BODY, etag='"new"'))
    server.arm("/image", renew, *[Fault(ignore_condition=True)] * 9)
    assert fetch(url, tmp_path, sha256=None).sha256 == DIGEST
    assert [request.status for request in server.requests] == [200, 206, 200]


def test_a_file_replaced_under_the_same_etag_is_refused_by_its_digest(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", Fault(cut_after=1_000_000, after=lambda: server.publish("/image", os.urandom(len(BODY)))))
    with pytest.raises(VerificationError):
        fetch(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dribble", list(Dribble))
def test_a_server_that_sends_a_byte_now_and_then_is_left(server: FaultServer, tmp_path: Path, dribble: Dribble) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", Fault(dribble=dribble, cut_after=1_000_000))
    assert fetch(url, tmp_path, patience=IMPATIENT).sha256 == DIGEST
    assert len(server.requests) == 2


@pytest.mark.parametrize("dribble", list(Dribble))
def test_a_server_that_never_does_better_is_given_up(server: FaultServer, tmp_path: Path, dribble: Dribble) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", *[Fault(dribble=dribble, cut_after=0)] * 2)
    with pytest.raises(FetchError, match=r"did not answer in time|bytes came in"):
        fetch(url, tmp_path, patience=replace(IMPATIENT, attempts=2))
    assert not (tmp_path / "image").exists()


def test_drops_at_every_tenth_of_the_file_are_no_reason_to_give_up(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", *[Fault(cut_after=300_000)] * 9)
    assert fetch(url, tmp_path, patience=replace(PATIENT, attempts=2)).sha256 == DIGEST
    assert server.ranges("/image") == [None, *[f"bytes={tenth * 300_000}-" for tenth in range(1, 10)]]


def test_a_server_that_stands_still_is_given_up_even_after_progress(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY, etag=None)
    server.arm("/image", *[Fault(cut_after=1_000_000)] * 9)  # without an ETag each begins anew
    with pytest.raises(FetchError):
        fetch(url, tmp_path, patience=replace(PATIENT, attempts=3))
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


@pytest.mark.parametrize("location", ["http://[", "http://:99999/", "\xff\xfe://x", "http://" + "a" * 70 + ".example/"])
def test_a_redirect_to_what_is_no_address_is_an_error_and_no_traceback(
    server: FaultServer, tmp_path: Path, location: str
) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", *[Fault(status=302, headers={"Location": location})] * 2)
    with pytest.raises(FetchError):
        fetch(url, tmp_path, patience=replace(PATIENT, attempts=2))
    assert list(tmp_path.iterdir()) == []
