"""Servers, and caches before them, that send other bytes than were asked for: once more, plainly, then it is told.

What each answer must be is in RFC 9110, 14.2 to 14.4 (ranges), 15.3.7 (206), 13.1.5 (If-Range), 15.5.17 (416) and 8.4
(codings).
"""

import gzip
import hashlib
import random
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci.fetch.download import Downloaded, announced_size, download, read_url
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host.errors import FetchError, ToolsmithError, VerificationError
from tests.support.fault_server import Fault, FaultServer
from tests.support.quiet import quiet_reporter

pytestmark = pytest.mark.integration

SIZE, CUT = 300_000, 100_000
BODY = random.Random(1).randbytes(SIZE)  # noqa: S311 - no secret
DIGEST = hashlib.sha256(BODY).hexdigest()
# One attempt: what is in doubt is asked for once more all the same, and a line that breaks is no doubt.
CLIENT = Client(patience=Patience(attempts=1, sleep=lambda _: None))
PATIENT = replace(CLIENT, patience=Patience(attempts=3, sleep=lambda _: None))
BROKEN_OFF = Fault(cut_after=CUT)


def fetch(url: str, folder: Path, client: Client = PATIENT, **promised: Any) -> Downloaded:  # noqa: ANN401 - what download takes
    what: dict[str, Any] = {"sha256": DIGEST, "size": SIZE} | promised
    return download(url, folder / "image", reporter=quiet_reporter(), client=client, **what)


def saying(content_range: str, **options: Any) -> Fault:  # noqa: ANN401 - what Fault takes
    return Fault(headers={"Content-Range": content_range}, **options)


# To a request for the rest: what does not fit, and what it is called where a plain request gets the like.
WRONG = {
    "another part": (saying(f"bytes 7-{SIZE - 1}/{SIZE}"), FetchError, "other bytes than asked for"),
    "the part before": (
        saying(f"bytes 0-{CUT - 1}/{SIZE}", body=lambda _: BODY[:CUT]), FetchError, "other bytes than asked for"
    ),
    "a part that overlaps": (saying(f"bytes {CUT - 9}-{SIZE - 1}/{SIZE}"), FetchError, f"{CUT - 9}-"),
    "a part that ends before it begins": (saying(f"bytes {CUT}-7/{SIZE}"), FetchError, f"bytes {CUT}-7"),
    "a part that ends behind the end": (saying(f"bytes {CUT}-{SIZE}/{SIZE}"), FetchError, "other bytes"),
    "a range that is none": (saying("lines 1-2/3"), FetchError, "lines 1-2/3"),
    "a range in other digits": (saying("bytes \xb9-\xb2/\xb3"), FetchError, "other bytes"),
    "a part without a range": (
        Fault(status=206, ignore_range=True, body=lambda data: data[CUT:]), FetchError, "does not say which"
    ),
    "several parts": (
        Fault(
            headers={"Content-Type": "multipart/byteranges; boundary=x"}, status=206,
            body=lambda data: b"--x\r\nContent-Range: bytes 0-1/2\r\n\r\n" + data + b"\r\n--x--\r\n",
        ),
        FetchError, "does not say which",
    ),
    "another total": (saying(f"bytes {CUT}-{SIZE - 1}/{SIZE + 7}"), FetchError, "other bytes"),
    "the bytes of another file": (Fault(body=lambda data: data[::-1]), VerificationError, "has SHA-256"),
    "more bytes than it says": (Fault(body=lambda data: b"x" * 9 + data), VerificationError, "bytes, expected"),
    "a slice with 200": (
        Fault(ignore_range=True, body=lambda data: data[CUT:]), VerificationError, f"has {SIZE - CUT} bytes"
    ),
    "a slice with 200 and its range": (
        saying(f"bytes {CUT}-{SIZE - 1}/{SIZE}", status=200, body=lambda data: data[-SIZE + CUT:]),
        FetchError, f"bytes {CUT}-",
    ),
    "a part of a file with another ETag": (
        Fault(headers={"ETag": '"2"'}, body=lambda data: data[::-1]), VerificationError, "replaced"
    ),
    "no such part": (Fault(status=416), FetchError, "416"),
    "gzip": (Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress), FetchError, r"compressed \(gzip\)"),
    "x-gzip": (Fault(headers={"Content-Encoding": "X-GZip"}, body=gzip.compress), FetchError, "x-gzip"),
    "deflate": (Fault(headers={"Content-Encoding": "deflate"}, body=zlib.compress), FetchError, "deflate"),
    "br": (Fault(headers={"Content-Encoding": "br"}, body=lambda data: data[:9]), FetchError, r"\(br\)"),
    "zstd": (Fault(headers={"Content-Encoding": "identity, zstd"}, body=lambda data: data[:9]), FetchError, "zstd"),
}  # fmt: skip


@pytest.mark.parametrize("promised", [{}, {"size": None}], ids=["of known size", "of unknown size"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_asked_for_once_more_from_the_first_byte(
    server: FaultServer, tmp_path: Path, wrong: str, promised: dict[str, Any]
) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", BROKEN_OFF, WRONG[wrong][0])
    assert fetch(url, tmp_path, **promised).sha256 == DIGEST
    assert (tmp_path / "image").read_bytes() == BODY
    assert server.ranges("/image") == [None, f"bytes={CUT}-", None]
    assert server.requests[-1].headers["Cache-Control"] == "no-cache"
    assert server.requests[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("wrong", WRONG)
def test_once_more_and_no_oftener_and_then_the_cause_is_told(server: FaultServer, tmp_path: Path, wrong: str) -> None:
    fault, kind, words = WRONG[wrong]
    url = server.publish("/image", BODY)
    server.arm("/image", BROKEN_OFF, *[fault] * 9)
    with pytest.raises(kind, match=words) as failure:
        fetch(url, tmp_path)
    assert failure.value.hint
    assert len(server.requests) == 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [name for name, (_, kind, _) in WRONG.items() if kind is FetchError])
def test_nor_is_it_joined_where_no_digest_would_tell(server: FaultServer, tmp_path: Path, wrong: str) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", BROKEN_OFF, WRONG[wrong][0])
    assert fetch(url, tmp_path, sha256=None, size=None).sha256 == DIGEST
    assert len(server.requests) == 3


# What is not as usual, and right all the same.
RIGHT = {
    "the whole with 206": saying(f"bytes 0-{SIZE - 1}/{SIZE}", status=206, ignore_range=True, body=lambda data: data),
    "a total that it does not tell": saying(f"bytes {CUT}-{SIZE - 1}/*"),
    "the whole with 200": Fault(ignore_range=True),
    "in chunks": Fault(chunked=True),
    "a word that is no coding": Fault(headers={"Content-Encoding": "utf-8, identity"}),
}


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_right_is_taken_at_once(server: FaultServer, tmp_path: Path, right: str) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", BROKEN_OFF, RIGHT[right])
    assert fetch(url, tmp_path).sha256 == DIGEST
    assert len(server.requests) == 2


def test_the_whole_with_206_is_the_whole_at_the_first_request_too(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", RIGHT["the whole with 206"])
    assert fetch(url, tmp_path, CLIENT).sha256 == DIGEST
    assert len(server.requests) == 1


def test_less_than_was_asked_for_is_continued(server: FaultServer, tmp_path: Path) -> None:
    """RFC 9110, 15.3.7.1: a server may send a part of the part. Chunks that break off are no end (RFC 9112, 8)."""
    url = server.publish("/image", BODY)
    part = saying(f"bytes {CUT}-{CUT + 99_999}/{SIZE}", body=lambda data: data[:100_000])
    server.arm("/image", BROKEN_OFF, part, Fault(chunked=True, cut_after=50_000))
    assert fetch(url, tmp_path).sha256 == DIGEST
    ranges = server.ranges("/image")
    assert ranges[:3] == [None, f"bytes={CUT}-", f"bytes={2 * CUT}-"]
    assert len(ranges) == 4
    assert ranges[3] is not None


def test_a_cache_that_answers_with_anothers_bytes_is_passed_by(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/image", BODY)
    server.arm("/image", Fault(body=lambda data: data[::-1]))
    assert fetch(url, tmp_path, CLIENT).sha256 == DIGEST
    assert "no-cache" not in server.requests[0].headers.get("Cache-Control", "")
    assert server.requests[1].headers["Cache-Control"] == "no-cache"


def test_the_publisher_is_blamed_with_both_digests_and_for_what_came_before(
    server: FaultServer, tmp_path: Path
) -> None:
    url = server.publish("/image", BODY[::-1])
    server.arm("/image", BROKEN_OFF, Fault(body=lambda data: data[::-1]))
    with pytest.raises(VerificationError) as failure:
        fetch(url, tmp_path)
    other = hashlib.sha256(BODY[::-1]).hexdigest()
    assert f"it has SHA-256 {other}, expected {DIGEST}. Before that: what came has SHA-256" in failure.value.message
    assert failure.value.message.startswith(url)


def test_a_line_that_breaks_while_it_is_asked_plainly_is_no_fault_of_the_file(
    server: FaultServer, tmp_path: Path
) -> None:
    """Without ranges each begins anew; the next run continues what is there then."""
    url = server.publish("/image", BODY)
    server.arm("/image", BROKEN_OFF, Fault(status=416), *[BROKEN_OFF] * 9)
    with pytest.raises(FetchError, match="download of"):
        fetch(url, tmp_path)
    assert set(server.ranges("/image")[2:]) == {None}
    assert len(server.requests) <= 7
    server.faults.clear()
    assert fetch(url, tmp_path).sha256 == DIGEST
    assert server.ranges("/image")[-1] == f"bytes={CUT}-"


def test_a_word_for_a_coding_in_which_the_bytes_are_not_is_seen_through(server: FaultServer, tmp_path: Path) -> None:
    """As stores do that were told so with the upload; only a digest can tell."""
    url = server.publish("/image", BODY)
    named = Fault(headers={"Content-Encoding": "gzip"})
    server.arm("/image", *[named] * 2)
    assert fetch(url, tmp_path, CLIENT).sha256 == DIGEST
    server.arm("/image", *[named] * 2)
    with pytest.raises(FetchError, match="compressed"):
        fetch(url, tmp_path, CLIENT, sha256=None, size=None)


SMALL = {
    "gzip": Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress),
    "a part": Fault(status=206, headers={"Content-Range": "bytes 5-8/9"}, body=lambda data: data[5:]),
    "a part with 200": Fault(headers={"Content-Range": "bytes 5-8/9"}, body=lambda data: data[5:]),
}


@pytest.mark.parametrize("wrong", SMALL)
def test_something_small_is_asked_for_once_more_too(server: FaultServer, wrong: str) -> None:
    url = server.publish("/small", b'{"a": 1}\n')
    server.arm("/small", SMALL[wrong])
    assert read_url(url, max_bytes=99, reporter=quiet_reporter(), client=CLIENT) == b'{"a": 1}\n'
    server.arm("/small", SMALL[wrong])
    assert announced_size(url, reporter=quiet_reporter(), client=CLIENT) == 9
    assert len(server.requests) == 4
    server.arm("/small", *[SMALL[wrong]] * 9)
    with pytest.raises(ToolsmithError) as failure:
        read_url(url, max_bytes=99, reporter=quiet_reporter(), client=CLIENT)
    assert isinstance(failure.value, FetchError)
    assert len(server.requests) == 6
