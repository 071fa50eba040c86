"""Whatever a server sends: an answer, a retry or an error of the tree, in bounded time and memory."""

import hashlib
import json
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.github import api_call
from ci.host.errors import FetchError, RemoteError, VerificationError
from tests.support.asking import CALLS, ERRORS, MOST_BYTES, Asking, outcome, read
from tests.support.strange_server import Strange, answer, strange_server

pytestmark = pytest.mark.integration

# A tenth of what the slow answers take; most of it is for a machine that has other things to do.
LONGEST = 40.0


def each(piece: bytes, *, times: int = 1 << 30, pause: float = 0.0) -> Iterator[bytes]:
    for _ in range(times):
        time.sleep(pause)
        yield piece


def slowly(data: bytes) -> Iterator[bytes]:
    for byte in data:
        yield bytes([byte])
        time.sleep(0.1)


def json_of(value: object) -> bytes:
    return answer("200 OK", json.dumps(value).encode(), "Content-Type: application/json")


def plain(data: bytes) -> Strange:
    return lambda _: [data]


def to(location: str, status: str = "302 Found") -> Strange:
    return lambda server: [answer(status, b"", "Location: " + location.replace("{server}", server))]


def _then(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PAGE = b"<!doctype html><title>Sign in</title>"
EFFECTS: dict[str, Strange] = {
    "a web page": plain(answer("200 OK", PAGE, "Content-Type: text/html")),
    "a web page that says it is JSON": plain(answer("200 OK", PAGE, "Content-Type: application/json")),
    "truncated JSON": plain(answer("200 OK", b'{"id": 1, "name": "x')),
    "JSON that is cut off": plain(answer("200 OK", b'{"id": 1', length="900")),
    "deep JSON": plain(answer("200 OK", b"[" * 10_000)),
    "deep objects": plain(answer("200 OK", b'{"a":' * 10_000)),
    "a refusal in deep JSON": plain(answer("422 Unprocessable", b"[" * 10_000)),
    "lone surrogates": plain(answer("200 OK", b'{"full_name": "\\ud800", "message": "\\udfff", "id": 1}')),
    "a refusal in lone surrogates": plain(answer("422 X", b'{"message": "\\ud800", "errors": [{"code": "\\udfff"}]}')),
    "a refusal of another type": plain(answer("422 X", b'{"message": 7, "errors": 5}')),
    "a refusal that is a list": plain(answer("403 X", b"[1, 2]")),
    "a refusal that is a web page": plain(answer("403 X", PAGE)),
    "an empty refusal": plain(answer("401 X")),
    "an escape sequence": plain(answer("418 \x1b[2J\x07", b'{"message": "\\u001b[2J"}')),
    "no JSON": plain(answer("200 OK", b"\xff\xfe\x00nothing")),
    "an empty answer": plain(answer("200 OK")),
    "numbers in place of texts": plain(json_of({"id": "x", "full_name": 5, "default_branch": [], "assets": 7})),
    "a text": plain(json_of("text")),
    "null": plain(json_of(None)),
    "a huge number": plain(answer("200 OK", b'{"id": ' + b"9" * 5000 + b"}")),
    "a list of lists": plain(json_of([[], [[]], None])),
    "accepted, not ready": plain(answer("202 Accepted", b"{}")),
    "nothing new": plain(answer("304 Not Modified")),
    "a partial answer that nobody asked for": plain(answer("206 Partial", b"x", "Content-Range: bytes 5-5/9")),
    "another protocol": plain(answer("101 Switching Protocols", b"", "Upgrade: x")),
    "a length of 5,000 digits": plain(answer("200 OK", b"{}", length="9" * 5000)),
    "a length that is none": plain(answer("200 OK", b"{}", length="-1, ten")),
    "a range of 5,000 digits": plain(answer("206 X", b"x", f"Content-Range: bytes 0-0/{'9' * 5000}")),
    "a limit that is none": plain(answer("429 X", b"", "Retry-After: " + "9" * 400)),
    "a reset that is none": plain(answer("403 X", b"", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1e999")),
    "limits that are none": plain(answer("200 OK", b"{}", "X-RateLimit-Remaining: a", "X-RateLimit-Limit: nan")),
    "a list without an end": lambda server: [answer("200 OK", b"[]", f'Link: <{server}/x?page=2>; rel="next"')],
    "a next page that is none": plain(answer("200 OK", b"[]", 'Link: <http://[::1>; rel="next"')),
    "a redirect to another host": to("http://localhost:9/elsewhere"),
    "a permanent redirect to another host": to("http://localhost:9/elsewhere", "301 Moved"),
    "a redirect in a circle": to("{server}/x"),
    "a permanent redirect in a circle": to("{server}/x", "301 Moved"),
    "a repeated redirect in a circle": to("{server}/x", "307 Again"),
    "a redirect to nowhere": plain(answer("302 Found")),
    "a redirect to a broken address": to("http://[::1"),
    "a redirect to a port that is none": to("http://x:99999999/"),
    "a redirect in no UTF-8": to("http://\xff\xfe/\xe4"),
    "a redirect to a name that is none": to("http://" + "a" * 70 + ".example/"),
    "a redirect to a file": to("file:///etc/passwd"),
    "a redirect to a script": to("javascript:alert(1)"),
    "a gigabyte in one header": lambda _: _then(b"HTTP/1.1 200 OK\r\nX: ", each(b"x" * 65_536, times=16_384)),
    "a gigabyte of headers": lambda _: _then(b"HTTP/1.1 200 OK\r\n", each(b"X: y\r\n" * 10_000, times=16_384)),
    "a gigabyte of preliminaries": lambda _: each(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, pause=0.01),
    "a body without an end": lambda _: _then(b"HTTP/1.1 200 OK\r\n\r\n[", each(b" " * 65_536)),
    "no HTTP": plain(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "nothing": plain(b""),
    "silence": lambda _: each(b"", pause=0.1),
    "a byte now and then, of headers": lambda _: slowly(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000),
    "a byte now and then, of a body": lambda _: _then(b"HTTP/1.1 200 OK\r\n\r\n", slowly(b"x" * 5000)),
    "a byte now and then, of a chunk's size": lambda _: _then(CHUNKED, slowly(b"1;" + b"x" * 5000)),
    "a byte now and then, after the last chunk": lambda _: _then(CHUNKED + b"0\r\n", slowly(b"X: " + b"x" * 5000)),
    "a chunk that is none": plain(CHUNKED + b"zz\r\n"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


# How an answer is waited for is one for all calls, but for the bytes on their way out.
SLOW = ("a gigabyte", "a body without", "silence", "a byte now")
KINDS_OF_WAIT = ("an object", "an upload", "the digest of an asset", "an image")
WAITS = [
    pytest.param(call, name, marks=[] if call in KINDS_OF_WAIT else [pytest.mark.full], id=f"{call}: {name}")
    for call in CALLS
    for name in EFFECTS
    if name.startswith(SLOW)
]


@pytest.mark.parametrize("call", CALLS)
def test_no_answer_ends_in_a_traceback(call: str, subtests: pytest.Subtests, tmp_path: Path) -> None:
    for name, effect in EFFECTS.items():
        if not name.startswith(SLOW):
            with subtests.test(name), strange_server(effect) as server:
                assert outcome(call, Asking(server.url, tmp_path)).isprintable()
                assert server.asked


@pytest.mark.parametrize(("call", "name"), WAITS)
def test_no_answer_lasts_for_ever_or_fills_the_memory(
    call: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_call, "LARGEST_ANSWER", MOST_BYTES)
    with strange_server(EFFECTS[name]) as server:
        asking = Asking(server.url, tmp_path)
        tracemalloc.start()
        started = time.monotonic()
        assert outcome(call, asking).isprintable()
        took, (_, most) = time.monotonic() - started, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert took < LONGEST
    assert most < 4 * MOST_BYTES


def test_what_is_given_up_is_cut_off(tmp_path: Path) -> None:
    """Otherwise it would be read, or an upload sent, for as long as the server likes."""
    for name in ("a gigabyte of preliminaries", "a byte now and then, of headers", "silence"):
        with strange_server(EFFECTS[name]) as server:
            outcome("an object", Asking(server.url, tmp_path))
            outcome("an upload", Asking(server.url, tmp_path))
            ours = [thread for thread in threading.enumerate() if thread.name == "request"]
            for thread in ours:
                thread.join(LONGEST)
            assert not [thread for thread in ours if thread.is_alive()]


def second(effect: Strange) -> Strange:
    """Redirects the first request of each pair to this server's own effect."""
    asked = iter(range(1 << 30))

    def both(server: str) -> Iterator[bytes]:
        return iter(to("{server}/elsewhere")(server) if next(asked) % 2 == 0 else effect(server))

    return both


def test_nor_does_one_behind_a_redirect(subtests: pytest.Subtests, tmp_path: Path) -> None:
    for name, effect in EFFECTS.items():
        if not name.startswith(SLOW):
            with subtests.test(name), strange_server(second(effect)) as server:
                assert outcome("an object", Asking(server.url, tmp_path))
                assert outcome("an image", Asking(server.url, tmp_path))


@pytest.mark.parametrize("call", ["an object", "something that is made", "an upload", "the digest of an asset"])
def test_a_token_is_not_taken_along_to_another_server(call: str, tmp_path: Path) -> None:
    with strange_server(plain(json_of({}))) as other, strange_server(to(f"{other.url}/x")) as server:
        with pytest.raises(ERRORS):
            CALLS[call](Asking(server.url, tmp_path))
        assert server.authorizations
        assert not other.authorizations


def test_a_large_answer_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_call, "LARGEST_ANSWER", MOST_BYTES)
    with strange_server(EFFECTS["a body without an end"]) as server:
        with pytest.raises(RemoteError, match="larger than"):
            Asking(server.url, tmp_path).github.repository()
        assert server.sent < 4 * MOST_BYTES


def test_a_refusal_at_a_fresh_address_is_asked_about_once_more(tmp_path: Path) -> None:
    refusals = [answer("403 Forbidden"), answer("200 OK", b"123456789")]
    with strange_server(lambda _: [refusals.pop(0)]) as store, strange_server(to(f"{store.url}/signed")) as server:
        asking = Asking(server.url, tmp_path)
        url = f"{server.url}/x"
        assert read(asking, url) == b"123456789"
        refusals += [answer("403 Forbidden")] * 2
        with pytest.raises(FetchError, match="403"):
            read(asking, url)
        refusals += [answer("403 Forbidden"), answer("200 OK", b"123456789")]
        assert asking.github.download(asking.asset(digest=None)) == b"123456789"


def test_an_asset_that_arrives_altered_is_asked_for_once_more(tmp_path: Path) -> None:
    answers: list[bytes] = []
    with strange_server(lambda _: [answers.pop(0)]) as server:
        asking = Asking(server.url, tmp_path)
        without = asking.asset(digest=None)
        for wrong in (b"1234567", b"1234567890"):
            answers += [answer("200 OK", wrong), answer("200 OK", b"123456789")]
            assert asking.github.download(without) == b"123456789"
            answers += [answer("200 OK", wrong), answer("200 OK", b"123456789")]
            assert asking.github.sha256(without) == hashlib.sha256(b"123456789").hexdigest()
            answers += [answer("200 OK", wrong)] * 2
            with pytest.raises(VerificationError, match="altered, twice"):
                asking.github.download(without)
        # At both of its addresses: as often.
        answers += [answer("200 OK", b"987654321")] * 2
        with pytest.raises(VerificationError, match="altered, twice"):
            asking.github.download(asking.asset())
        assert answers == []


def test_a_list_ends_where_github_says_so_however_long_its_pages_are(tmp_path: Path) -> None:
    def page(number: int, count: int, *, last: bool) -> bytes:
        fields = {"target_commitish": "x", "draft": False, "html_url": "", "upload_url": ""}
        found = [{"id": number * 1000 + one, "tag_name": "x", **fields} for one in range(count)]
        link = [] if last else [f'Link: <https://elsewhere.example/?page={number + 1}&per_page=3>; rel="next"']
        return answer("200 OK", json.dumps(found).encode(), *link)

    pages = [page(1, 3, last=False), page(2, 0, last=False), page(3, 100, last=True)]
    with strange_server(lambda _: [pages.pop(0)]) as server:
        assert len(Asking(server.url, tmp_path).github.releases()) == 103
        assert [head.split()[1] for head in server.heads] == [
            b"/repos/o/r/releases?per_page=100",
            b"/repos/o/r/releases?page=2&per_page=3",
            b"/repos/o/r/releases?page=3&per_page=3",
        ]
