"""Downloads from a real server that fails on command."""

import hashlib
import io
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from ci.fetch.download import MAX_BYTES, Downloaded, download
from ci.fetch.open_url import Client
from ci.fetch.partial_file import PartialFile
from ci.fetch.retry import Patience
from ci.host.errors import FetchError, HostError, VerificationError
from ci.host.progress import Reporter
from tests.support.certificates import self_signed
from tests.support.fault_server import Fault, FaultServer

pytestmark = pytest.mark.integration

BODY = os.urandom(3_000_000)
DIGEST = hashlib.sha256(BODY).hexdigest()


@dataclass
class Fetcher:
    """Downloads into one folder and keeps what was slept and said."""

    folder: Path
    slept: list[float]
    said: io.StringIO

    @property
    def target(self) -> Path:
        return self.folder / "image"

    @property
    def part(self) -> Path:
        return self.folder / "image.part"

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def __call__(
        self, url: str, *, sha256: str | None = DIGEST, attempts: int = 6, max_bytes: int = MAX_BYTES
    ) -> Downloaded:
        reporter = Reporter(Console(file=self.said, width=400), in_actions=False)
        return download(
            url,
            self.target,
            sha256=sha256,
            reporter=reporter,
            max_bytes=max_bytes,
            client=Client(patience=Patience(attempts=attempts, sleep=self.slept.append)),
        )


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return Fetcher(folder, [], io.StringIO())


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@pytest.fixture
def tls_server(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with FaultServer(context) as running:
        yield running


class TestTls:
    def test_a_certificate_that_cannot_be_verified_is_final(self, tls_server: FaultServer, fetch: Fetcher) -> None:
        with pytest.raises(FetchError, match="certificate cannot be verified"):
            fetch(tls_server.publish("/image", BODY))
        assert fetch.slept == []

    def test_a_redirect_from_https_to_http_is_refused(
        self,
        tls_server: FaultServer,
        server: FaultServer,
        fetch: Fetcher,
        certificate: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(certificate))
        fetch(tls_server.publish("/good", BODY))
        url = tls_server.publish("/image", b"")
        tls_server.arm("/image", Fault(status=302, headers={"Location": server.publish("/plain", BODY)}))
        with pytest.raises(FetchError, match="unencrypted"):
            fetch(url)


class TestDownload:
    def test_a_file_arrives_whole_and_nothing_else_stays(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        assert fetch(url) == Downloaded(sha256=DIGEST, size=len(BODY), url=url)
        assert fetch.target.read_bytes() == BODY
        assert fetch.files() == ["image"]
        assert server.requests[0].headers["Accept-Encoding"] == "identity"

    def test_a_dropped_connection_is_continued_where_it_broke(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_500_000))
        fetch(url)
        assert fetch.target.read_bytes() == BODY
        assert server.ranges("/image") == [None, "bytes=1500000-"]
        assert [request.status for request in server.requests] == [200, 206]
        assert fetch.slept == [1.0]

    def test_the_next_run_continues_what_a_failed_one_left(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_000_000))
        with pytest.raises(FetchError, match=r"download of .* failed: .*tried 1 times"):
            fetch(url, attempts=1)
        assert not fetch.target.exists()
        fetch(url, attempts=1)
        assert fetch.target.read_bytes() == BODY
        assert server.ranges("/image") == [None, "bytes=1000000-"]

    def test_a_server_without_ranges_is_read_from_the_start_again(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_000_000), Fault(ignore_range=True))
        fetch(url)
        assert fetch.target.read_bytes() == BODY
        assert [request.status for request in server.requests] == [200, 200]

    def test_a_file_replaced_between_attempts_is_not_mixed_with_the_old_one(
        self, server: FaultServer, fetch: Fetcher
    ) -> None:
        url = server.publish("/image", os.urandom(len(BODY)), etag='"old"')
        server.arm("/image", Fault(cut_after=1_000_000))
        with pytest.raises(FetchError):
            fetch(url, sha256=None, attempts=1)
        server.publish("/image", BODY, etag='"new"')
        assert fetch(url, sha256=None).sha256 == DIGEST
        assert server.requests[-1].headers["If-Range"] == '"old"'

    @pytest.mark.parametrize("etag", [None, 'W/"1"'])
    def test_without_a_strong_validator_nothing_is_continued(
        self, server: FaultServer, fetch: Fetcher, etag: str | None
    ) -> None:
        url = server.publish("/image", BODY, etag=etag)
        server.arm("/image", Fault(cut_after=1_000_000))
        fetch(url)
        assert server.ranges("/image") == [None, None]

    def test_a_part_of_another_url_is_not_continued(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_000_000))
        with pytest.raises(FetchError):
            fetch(url, attempts=1)
        fetch(server.publish("/other", BODY), attempts=1)
        assert server.ranges("/other") == [None]

    def test_a_part_damaged_on_disk_costs_a_second_download_not_the_run(
        self, server: FaultServer, fetch: Fetcher
    ) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_000_000))
        with pytest.raises(FetchError):
            fetch(url, attempts=1)
        fetch.part.write_bytes(b"\0" * fetch.part.stat().st_size)
        fetch(url, attempts=1)
        assert fetch.target.read_bytes() == BODY

    def test_a_complete_part_of_known_digest_needs_no_server(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_000_000))
        with pytest.raises(FetchError):
            fetch(url, attempts=1)
        fetch.part.write_bytes(BODY)
        fetch(url)
        assert len(server.requests) == 1
        assert fetch.files() == ["image"]

    def test_a_part_longer_than_the_file_is_thrown_away(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_000_000))
        with pytest.raises(FetchError):
            fetch(url, attempts=1)
        fetch.part.write_bytes(BODY + b"more")
        fetch(url)
        assert fetch.target.read_bytes() == BODY
        assert [request.status for request in server.requests] == [200, 416, 200]

    def test_a_range_other_than_the_one_asked_for_is_not_joined(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        wrong = {"Content-Range": f"bytes 7-{len(BODY) - 1}/{len(BODY)}"}
        server.arm("/image", Fault(cut_after=1_000_000), Fault(headers=wrong))
        assert fetch(url, sha256=None).sha256 == DIGEST
        assert [request.status for request in server.requests] == [200, 206, 200]

    def test_an_overloaded_server_is_asked_again(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(status=503), Fault(status=502))
        fetch(url)
        assert len(server.requests) == 3
        assert fetch.slept == [1.0, 2.0]
        assert "the server answered 503" in fetch.said.getvalue()

    def test_a_server_that_stays_down_is_given_up_with_its_answer(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", *[Fault(status=500)] * 9)
        with pytest.raises(FetchError, match=r"answered 500.*tried 4 times"):
            fetch(url, attempts=4)
        assert len(server.requests) == 4
        assert fetch.files() == []

    def test_a_wait_the_server_asks_for_is_kept(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(status=429, headers={"Retry-After": "7"}))
        fetch(url)
        assert fetch.slept == [7.0]

    def test_a_wait_without_end_is_not(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(status=503, headers={"Retry-After": "86400"}))
        with pytest.raises(FetchError, match="for another 86400 s"):
            fetch(url)
        assert fetch.slept == []

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
    def test_a_client_error_is_final(self, server: FaultServer, fetch: Fetcher, status: int) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(status=status))
        with pytest.raises(FetchError) as failure:
            fetch(url)
        assert url in failure.value.message
        assert len(server.requests) == 1
        assert fetch.slept == []

    def test_a_refused_connection_is_tried_again_and_named(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.url("/image")
        server.http.socket.close()
        with pytest.raises(FetchError, match="Connection refused"):
            fetch(url, attempts=3)
        assert fetch.slept == [1.0, 2.0]

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (b"sign in", "text/html; charset=utf-8"),
            (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "application/octet-stream"),
            (b"<html>", "application/octet-stream"),
        ],
    )
    def test_a_web_page_is_refused_by_name(
        self, server: FaultServer, fetch: Fetcher, body: bytes, content_type: str
    ) -> None:
        url = server.publish("/image", body, content_type=content_type)
        with pytest.raises(FetchError, match="web page") as failure:
            fetch(url)
        assert url in failure.value.message
        assert len(server.requests) == 1
        assert fetch.files() == []

    def test_a_web_page_in_between_does_not_cost_the_part(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", Fault(cut_after=1_000_000))
        with pytest.raises(FetchError):
            fetch(url, attempts=1)
        server.publish("/image", b"<html>pay for your Wi-Fi", etag=None)
        with pytest.raises(FetchError, match="web page"):
            fetch(url)
        server.publish("/image", BODY)
        fetch(url)
        assert server.ranges("/image")[-1] == "bytes=1000000-"

    def test_a_body_shorter_than_announced_is_not_taken_for_whole(self, server: FaultServer, fetch: Fetcher) -> None:
        url = server.publish("/image", BODY)
        server.arm("/image", *[Fault(announce=len(BODY) + 10, ignore_range=True)] * 3)
        with pytest.raises(FetchError):
            fetch(url, sha256=None, attempts=3)
        assert len(server.requests) == 3
        assert not fetch.target.exists()

    def test_an_empty_answer_is_refused(self, server: FaultServer, fetch: Fetcher) -> None:
        with pytest.raises(FetchError, match="is empty"):
            fetch(server.publish("/image", b""), sha256=None)
        assert fetch.files() == []

    def test_a_wrong_digest_names_both_and_leaves_nothing(self, server: FaultServer, fetch: Fetcher) -> None:
        wrong = "0" * 64
        with pytest.raises(VerificationError) as failure:
            fetch(server.publish("/image", BODY), sha256=wrong)
        assert DIGEST in failure.value.message
        assert wrong in failure.value.message
        assert "It came twice" in failure.value.message
        assert fetch.files() == []
        assert len(server.requests) == 2
        assert server.requests[1].headers["Cache-Control"] == "no-cache"

    def test_a_redirect_is_followed_with_its_range(self, server: FaultServer, fetch: Fetcher) -> None:
        target = server.publish("/store/1", BODY)
        url = server.publish("/image", b"")
        server.arm("/image", *[Fault(status=302, headers={"Location": target})] * 2)
        server.arm("/store/1", Fault(cut_after=1_000_000))
        assert fetch(url).url == url
        assert server.ranges("/store/1") == [None, "bytes=1000000-"]

    @pytest.mark.parametrize("announced", [True, False])
    def test_more_than_the_limit_is_refused(self, server: FaultServer, fetch: Fetcher, *, announced: bool) -> None:
        url = server.publish("/image", BODY)
        if not announced:
            server.arm("/image", Fault(headers={"Content-Length": "unknown", "Connection": "close"}))
        with pytest.raises(FetchError, match="larger than the 1000 bytes"):
            fetch(url, sha256=None, max_bytes=1000)
        assert fetch.files() == []

    def test_credentials_and_tokens_are_used_but_never_said(self, server: FaultServer, fetch: Fetcher) -> None:
        server.publish("/image", BODY)
        server.arm("/image", Fault(status=503))
        url = server.url("/image").replace("://", "://bob:hunter2@") + "?token=geheim"
        got = fetch(url)
        assert server.requests[0].headers["Authorization"].startswith("Basic ")
        assert got.url == server.url("/image")
        with pytest.raises(FetchError) as failure:
            fetch(url.replace("/image", "/missing"))
        for text in (fetch.said.getvalue(), str(failure.value), failure.value.hint):
            assert not re.search("bob|hunter2|geheim", text)

    def test_a_full_disk_is_the_hosts_fault_and_is_not_made_fuller(
        self, server: FaultServer, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = server.publish("/image", BODY)
        # /dev/full fails every write with ENOSPC.
        with Path("/dev/full").open("wb", buffering=0) as full:
            monkeypatch.setattr(PartialFile, "_mine", lambda _: full)
            with pytest.raises(HostError, match="no space left"):
                fetch(url)
        assert fetch.files() == []
