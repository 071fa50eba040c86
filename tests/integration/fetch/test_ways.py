"""The way to a server: certificates, proxies, and credentials that are lying about."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ci.fetch import places
from ci.fetch.retry import Patience
from ci.host.errors import ToolsmithError
from ci.host.process import held_port
from tests.support.asking import CALLS, PATIENCE, SECONDS, TOKEN, Asking, outcome
from tests.support.certificates import self_signed
from tests.support.strange_server import StrangeServer, answer, strange_server

pytestmark = pytest.mark.integration

# One of each kind: the API's, bytes up, bytes down, and a consumer's.
ONE_OF_EACH = ("an object", "something that is made", "an upload", "the digest of an asset", "an image")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed(tmp_path)


@pytest.fixture
def tls(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StrangeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with strange_server(lambda _: [answer("404 Not Found", b"{}")], certificate) as server:
        yield server


def failure(call: str, url: str, folder: Path, patience: Patience = PATIENCE) -> ToolsmithError:
    with pytest.raises(ToolsmithError) as raised:
        CALLS[call](Asking(url, folder, patience))
    return raised.value


@pytest.mark.parametrize("call", ONE_OF_EACH)
def test_an_authority_that_nobody_knows_ends_it_at_once_and_says_how_to_make_it_known(
    call: str, tls: StrangeServer, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = failure(call, tls.url, tmp_path)
    assert "certificate cannot be verified (self-signed certificate)" in error.message
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert (tls.connections, tls.asked) == (1, 0)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(certificate))
    outcome(call, Asking(tls.url, tmp_path))
    assert tls.asked


@pytest.mark.parametrize("call", ONE_OF_EACH)
def test_certificates_that_are_not_there_are_named(
    call: str, tls: StrangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(tmp_path / "missing.pem"))
    error = failure(call, tls.url, tmp_path)
    assert "missing.pem, which the environment names for certificates, does not exist" in error.message
    (tmp_path / "missing.pem").write_text("no certificate")
    error = failure(call, tls.url, tmp_path)
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert tls.asked == 0


@pytest.mark.parametrize("call", ONE_OF_EACH)
def test_a_server_without_tls_is_not_asked_again(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with strange_server(lambda _: [answer("400 Bad Request")]) as plain:
        error = failure(call, plain.url.replace("http:", "https:"), tmp_path)
        assert "no TLS with this server" in error.message
        assert plain.connections == 1


@pytest.mark.parametrize("call", ONE_OF_EACH)
def test_a_proxy_that_refuses_is_named_at_once_and_its_password_is_not(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    with strange_server(lambda _: [answer("407 Proxy Authentication Required")]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("//", "//bob:hunter2@"))
        error = failure(call, "https://elsewhere.example", tmp_path)
        assert (
            f"the proxy {proxy.url}, which the environment names for https, refuses this: status 407" in error.message
        )
        assert "hunter2" not in error.message
        assert proxy.connections == 1
        assert {line.split()[0] for line in proxy.authorizations} == {b"Proxy-Authorization:"}


@pytest.mark.parametrize("call", ONE_OF_EACH)
def test_a_proxy_that_is_down_is_named_and_asked_again(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    with held_port() as port:
        monkeypatch.setenv("https_proxy", f"http://bob:hunter2@127.0.0.1:{port}")
        error = failure(call, "https://elsewhere.example", tmp_path)
    assert f"the proxy http://127.0.0.1:{port}: Connection refused" in error.message
    assert "tried 2 times" in error.message
    assert "hunter2" not in error.message


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://[::1", "bob:hunter2@"])
@pytest.mark.parametrize("call", ONE_OF_EACH)
def test_a_proxy_that_is_none_is_named_at_once(
    call: str, proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("https_proxy", proxy)
    error = failure(call, "https://elsewhere.example", tmp_path)
    assert "which the environment names for https, cannot be used" in error.message
    assert "SOCKS is not supported" in error.hint
    assert "hunter2" not in error.message


@pytest.mark.parametrize("call", CALLS)
def test_a_netrc_is_read_for_no_call_and_on_no_redirect(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login bob password hunter2\ndefault login eve password hunter3\n")
    monkeypatch.setenv("NETRC", os.fspath(netrc))
    with strange_server(lambda _: [answer("404 Not Found", b"{}")]) as store:
        away = answer("302 Found", b"", f"Location: {store.url.replace('127.0.0.1', 'localhost')}/signed")
        with strange_server(lambda _: [away]) as server:
            outcome(call, Asking(server.url, tmp_path))
    tokens = {line.split()[-1] for line in server.authorizations + store.authorizations}
    assert tokens <= {TOKEN.encode()}
    assert not store.authorizations


def test_a_byte_now_and_then_is_given_up_by_tls_too(
    certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(certificate))

    def slowly(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _number in range(1000):
            yield b"1"
            stop.wait(SECONDS / 8)

    stop = threading.Event()
    with strange_server(slowly, certificate) as server:
        for call in ("an object", "an upload", "an image"):
            started = time.monotonic()
            assert "bytes came" in failure(call, server.url, tmp_path, replace(PATIENCE, timeout=1.0)).message
            assert time.monotonic() - started < 40
        stop.set()


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "2852039166", "0xa9fea9fe", "[::ffff:169.254.169.254]", "0251.0376.169.254"]
)
def test_the_link_is_not_asked_neither_at_once_nor_by_a_redirect(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    away = [answer("302 Found", b"", f"Location: http://{host}/latest/meta-data")]
    with strange_server(lambda _: away) as server:
        for call in ("an image", "a consumer's file"):
            for url in (f"http://{host}", server.url):
                error = failure(call, url, tmp_path)
                assert "leads to 169.254.169.254, where clouds keep a machine's secrets" in error.message


def test_a_login_in_an_address_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with strange_server(lambda _: [answer("410 Gone")]) as server:
        url = server.url.replace("//", "//bob:hunter2@")
        error = failure("a consumer's file", url, tmp_path)
    assert {line.split()[0] for line in server.authorizations} == {b"Authorization:"}
    assert "hunter2" not in error.message + error.hint


def test_no_redirect_from_another_machine_leads_to_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    monkeypatch.setattr(places, "_is_here", lambda host: host == "localhost")
    with strange_server(lambda _: [answer("200 OK", b"{}")]) as here:
        away = [answer("302 Found", b"", f"Location: {here.url.replace('127.0.0.1', 'localhost')}/x")]
        with strange_server(lambda _: away) as elsewhere:
            error = failure("a consumer's file", elsewhere.url, tmp_path)
        assert "127.0.0.1 redirects to localhost, which is this machine" in error.message
        assert here.connections == 0
