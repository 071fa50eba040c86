import errno
import hashlib
import os
import shutil
import time
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest

from ci.fetch import download as downloads
from ci.fetch.download import download, download_if_present, parse_sha256
from ci.fetch.limits import retry_after as seconds_to_wait
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.fetch.source import public_url
from ci.host.errors import FetchError, HostError, InputError, VerificationError
from tests.support.quiet import quiet_reporter

BODY = b"disk" * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "published image.img"
    path.write_bytes(BODY)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "image"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def get(
    url: str, target: Path, sha256: str | None = None, max_bytes: int = downloads.MAX_BYTES
) -> downloads.Downloaded:
    def no_sleep(seconds: float) -> None:
        pytest.fail(f"slept {seconds} s")

    client = Client(patience=Patience(sleep=no_sleep))
    return download(url, target, sha256=sha256, reporter=quiet_reporter(), max_bytes=max_bytes, client=client)


def test_a_file_url_is_copied_and_hashed(published: Path, target: Path) -> None:
    got = get(published.as_uri(), target)
    assert got == downloads.Downloaded(sha256=DIGEST, size=len(BODY), url=published.as_uri())
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["image"]


def test_an_upper_case_digest_is_the_same_digest(published: Path, target: Path) -> None:
    assert get(published.as_uri(), target, DIGEST.upper()).sha256 == DIGEST


def test_a_wrong_digest_leaves_what_was_there_before(published: Path, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"before")
    with pytest.raises(VerificationError, match=DIGEST):
        get(published.as_uri(), target, "0" * 64)
    assert target.read_bytes() == b"before"
    assert names(target.parent) == ["image"]


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "is empty"), (b"<!doctype html>", "web page"), (b"\r\n <HTML>", "web page")]
)
def test_a_file_that_cannot_be_an_image_is_refused(published: Path, target: Path, content: bytes, words: str) -> None:
    published.write_bytes(content)
    with pytest.raises(FetchError, match=words):
        get(published.as_uri(), target)
    assert names(target.parent) == []


def test_a_file_over_the_limit_is_refused(published: Path, target: Path) -> None:
    with pytest.raises(FetchError, match="larger than the 99 bytes"):
        get(published.as_uri(), target, max_bytes=99)


def test_a_missing_file_is_an_error_or_none(tmp_path: Path, target: Path) -> None:
    url = (tmp_path / "missing").as_uri()
    with pytest.raises(FetchError, match="does not exist"):
        get(url, target)
    assert download_if_present(url, target, reporter=quiet_reporter(), max_bytes=99) is None


def test_a_folder_is_not_an_image(tmp_path: Path, target: Path) -> None:
    with pytest.raises(FetchError, match="is not a file"):
        get(tmp_path.as_uri(), target)


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a", "/srv/image.img", "image.img", "", "data:,x", "file://elsewhere/image"]
)
def test_other_urls_are_refused(url: str, target: Path) -> None:
    with pytest.raises(InputError):
        get(url, target)


@pytest.mark.parametrize(
    "proxy",
    [
        "socks5h://127.0.0.1:1080", "socks4://127.0.0.1:1080", "http:///", "http://[::1", "http://proxy:99999",
        "bob:hunter2@", "http://bob:hunter2@:3128", "http://bob:hunter2@proxy:port", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_a_proxy_that_cannot_be_used_is_named(target: Path, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(FetchError, match="proxy") as failure:
        get("http://example.org/image", target)
    assert "SOCKS" in failure.value.hint
    assert "hunter2" not in failure.value.message


def test_too_little_space_is_known_before_the_first_byte(
    published: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage(NamedTuple):
        total: int = 10
        used: int = 10
        free: int = len(BODY) - 1

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(HostError, match="free"):
        get(published.as_uri(), target)
    assert names(target.parent) == []


def test_a_disk_that_fills_up_is_the_hosts_fault(
    published: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match="no space left"):
        get(published.as_uri(), target)
    assert names(target.parent) == []


def test_a_target_that_cannot_be_written_is_the_hosts_fault(published: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot be used"):
        get(published.as_uri(), tmp_path / "file" / "image")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bob:secret@example.org:8443/a/b.img?sig=x#y", "https://example.org:8443/a/b.img"),
        ("https://example.org/b.img", "https://example.org/b.img"),
        ("file:///srv/b%20c.img", "file:///srv/b%20c.img"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert public_url(url) == shown


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 63, "0" * 65, f"sha256:{'0' * 64}"])
def test_a_malformed_digest_is_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="SHA-256"):
        parse_sha256(text)


def test_a_retry_date_is_a_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    assert seconds_to_wait(formatdate(1_000_030, usegmt=True)) == 30
    assert seconds_to_wait(formatdate(999_970, usegmt=True)) is None  # one of the clocks is wrong
    assert seconds_to_wait("12") == 12
    assert seconds_to_wait("soon") is None
    assert seconds_to_wait(None) is None
