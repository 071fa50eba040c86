import asyncio
import itertools
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ci.host.errors import HostError
from ci.rehearsal import emulator
from ci.rehearsal.emulator import running_emulator
from ci.rehearsal.server import GitHubServer
from tests.support.calls import Api

pytestmark = pytest.mark.integration


def listening(port: int) -> set[tuple[str, str]]:
    """The address and the inode of each socket, in the kernel's hexadecimal form: proc(5), /proc/net/tcp."""
    lines = [line for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    sockets = [(*line.split()[1].split(":"), line.split()[3], line.split()[9]) for line in lines]
    return {(address, inode) for address, number, state, inode in sockets if (number, state) == (f"{port:04X}", "0A")}


def test_two_servers_know_nothing_of_each_other(tmp_path: Path) -> None:
    with GitHubServer.start(tmp_path / "a") as first, GitHubServer.start(tmp_path / "b") as second:
        repository = first.create_repository("image", {"a": "b"})
        with Api(second, repository, second.tokens.admin) as api:
            assert api.call("GET").status_code == 404
        with Api(first, repository, second.tokens.admin) as api:
            assert api.call("GET").status_code == 401


def fail_with_a_server(folder: Path, ports: list[int], found: set[tuple[str, str]]) -> None:
    with GitHubServer.start(folder) as server:
        ports += [urlsplit(url).port or 0 for url in (server.url, server._emulator._url)]
        found.update(*map(listening, ports))
        raise RuntimeError("the test")


def test_nothing_is_left_of_a_server_even_when_its_test_fails(tmp_path: Path) -> None:
    ports: list[int] = []
    found: set[tuple[str, str]] = set()
    threads = set(threading.enumerate())  # of other tests' servers, too
    with pytest.raises(RuntimeError, match="the test"):
        fail_with_a_server(tmp_path, ports, found)
    assert len(found) == 2
    # By its inode, for somebody else may have the port by now.
    assert not found.intersection(*map(listening, ports))
    assert "github" not in {thread.name for thread in set(threading.enumerate()) - threads}


def test_only_this_machine_reaches_it(tmp_path: Path) -> None:
    with GitHubServer.start(tmp_path) as server:
        for url in (server.url, server._emulator._url):
            assert {address for address, _ in listening(urlsplit(url).port or 0)} == {"0100007F"}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_nobody_else_listens_at_the_other_address_of_localhost(tmp_path: Path) -> None:
    with GitHubServer.start(tmp_path) as server, socket.socket(socket.AF_INET6) as stranger:
        stranger.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with pytest.raises(OSError, match="already in use"):
            stranger.bind(("", urlsplit(server.url).port))


def test_a_missing_emulator_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "EMULATE", tmp_path / "nowhere.js")
    with pytest.raises(HostError, match="emulate is not installed") as caught, GitHubServer.start(tmp_path):
        pass
    assert "make setup" in caught.value.hint


def test_an_emulator_that_does_not_start_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.js"
    broken.write_text("throw new Error('out of order')\n")
    monkeypatch.setattr(emulator, "EMULATE", broken)
    with pytest.raises(HostError, match="emulate did not start") as caught, GitHubServer.start(tmp_path):
        pass
    assert "out of order" in caught.value.details


# An emulator that closes a connection when a second request comes by it.
FORGETFUL = """
import { createServer } from "node:http";
const known = new WeakSet();
createServer((request, response) => {
  if (known.has(request.socket)) return request.socket.destroy();
  known.add(request.socket);
  response.setHeader("Content-Type", "application/json");
  response.end('{"message": "done"}');
}).listen(0);
"""
# One that has no answer.
BROKEN = """
import { createServer } from "node:http";
createServer((request, response) => {
  response.writeHead(500, { "Content-Type": "application/json" });
  response.end('{"message": "out of order"}');
}).listen(0);
"""


def test_no_request_meets_the_end_of_a_connection_that_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "EMULATE", tmp_path / "emulate.mjs")
    emulator.EMULATE.write_text(FORGETFUL)

    async def write_often() -> list[int]:
        async with running_emulator(tmp_path, url="http://localhost", owner="owner") as running:
            return [(await running.request("POST", "/", body={})).status for _ in range(5)]

    assert asyncio.run(write_often()) == [200] * 5


def test_an_emulator_that_fails_does_not_say_that_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator, "EMULATE", tmp_path / "emulate.mjs")
    emulator.EMULATE.write_text(BROKEN)
    with GitHubServer.start(tmp_path / "github") as server, Api(server, "owner/image", server.tokens.admin) as api:
        assert api.call("GET").status_code == 500


# And one that says by which token it was asked.
ECHO = """
import { createServer } from "node:http";
createServer((request, response) => {
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ token: request.headers.authorization }));
}).listen(0);
"""


def test_before_a_token_is_used_up_there_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "REQUESTS_PER_TOKEN", 2)
    monkeypatch.setattr(emulator, "EMULATE", tmp_path / "emulate.mjs")
    emulator.EMULATE.write_text(ECHO)

    async def ask() -> list[str]:
        async with running_emulator(tmp_path, url="http://localhost", owner="owner") as running:
            return [(await running.request("GET", "/")).body["token"] for _ in range(5)]

    assert asyncio.run(ask()) == [f"Bearer owner-{number}" for number in (0, 0, 1, 1, 2)]


@pytest.mark.full
def test_emulate_does_not_run_into_its_own_rate_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator, "REQUESTS_PER_TOKEN", 4000)

    async def ask_often() -> set[int]:
        async with running_emulator(tmp_path, url="http://localhost", owner="owner") as running:
            answers = [await running.request("GET", "/rate_limit") for _ in range(5200)]
            return {answer.status for answer in answers}

    assert asyncio.run(ask_often()) == {200}


def same_commits(server: GitHubServer) -> tuple[str, str]:
    """Two repositories with one and the same commit: the same files, within one second."""
    made: dict[str | None, str] = {}
    for number in itertools.count():
        repository = server.create_repository(f"image-{number}", {"a": "b"})
        earlier = made.setdefault(server.branch_head(repository), repository)
        if earlier != repository:
            return earlier, repository
    raise AssertionError("it counts for ever")


def test_repositories_of_one_second_are_shown_each_at_its_own_commit(tmp_path: Path) -> None:
    with GitHubServer.start(tmp_path) as server:
        shown = dict(zip(same_commits(server), ("1" * 40, "2" * 40), strict=True))
        for repository, commit in shown.items():
            server.show_head_as(repository, commit)
        for repository, commit in shown.items():
            assert server.branch_head(repository) == commit
            with Api(server, repository, server.tokens.admin) as api:
                api.made("/releases", {"tag_name": "v1", "target_commitish": commit})
            assert server.tag_commit(repository, "v1") == commit


def test_what_people_do_is_not_in_the_log(tmp_path: Path) -> None:
    with GitHubServer.start(tmp_path) as server:
        repository = server.create_repository("image", {"a": "b"})
        server.commit(repository, {"a": "c"})
        assert server.read(repository, "a") == "c"
        assert server.read(repository, "none") is None
        assert server.exchanges == []
