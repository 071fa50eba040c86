import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from ci.host.process import spawn
from ci.rehearsal.faults import Effect, Fault, Moment
from ci.rehearsal.server import GitHubServer
from tests.support.calls import WAIT, Api, wait_until

pytestmark = pytest.mark.integration

DATA = bytes(5 << 20)
CREATE = {"tag_name": "v1", "draft": True}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.mark.parametrize(
    ("effect", "status", "headers"),
    [
        (Effect.BAD_GATEWAY, 502, {}),
        (Effect.SECONDARY_LIMIT, 403, {"Retry-After": "7"}),
        (Effect.TOO_MANY_REQUESTS, 429, {"Retry-After": "7"}),
        (Effect.PRIMARY_LIMIT, 403, {"X-RateLimit-Remaining": "0"}),
    ],
)
def test_a_refusal_comes_before_the_server_acted(
    server: GitHubServer, repository: str, api: Api, *, effect: Effect, status: int, headers: dict[str, str]
) -> None:
    server.faults.arm(Fault(effect=effect, method="POST", path="/releases$", seconds=7))
    refused = api.call("POST", "/releases", json=CREATE)
    assert refused.status_code == status
    assert headers.items() <= refused.headers.items()
    assert server.releases(repository) == []
    assert api.draft("v1")


def test_a_primary_limit_tells_when_it_ends(server: GitHubServer, api: Api) -> None:
    before = int(time.time())
    server.faults.arm(Fault(effect=Effect.PRIMARY_LIMIT, seconds=1000))
    refused = api.call("GET")
    assert before + 1000 <= int(refused.headers["X-RateLimit-Reset"]) <= int(time.time()) + 1000
    assert refused.json()["message"].startswith("API rate limit exceeded")


@pytest.mark.parametrize(("moment", "acted"), [(Moment.BEFORE, False), (Moment.AFTER, True)])
@pytest.mark.parametrize("effect", [Effect.RESET, Effect.HANG])
def test_a_lost_answer_leaves_open_whether_the_server_acted(
    server: GitHubServer, repository: str, api: Api, effect: Effect, moment: Moment, *, acted: bool
) -> None:
    armed = server.faults.arm(Fault(effect=effect, moment=moment, method="POST"))
    with pytest.raises((requests.ConnectionError, requests.Timeout)):
        api.session.post(f"{api.base}/releases", json=CREATE, timeout=0.5)
    assert armed.reached.wait(WAIT)
    assert [release["tag_name"] for release in server.releases(repository)] == (["v1"] if acted else [])
    assert api.get()["name"]


def test_a_reset_is_one_and_no_orderly_end(server: GitHubServer) -> None:
    url = urlsplit(server.url)
    server.faults.arm(Fault(effect=Effect.RESET))
    with socket.create_connection((url.hostname, url.port)) as client:
        client.sendall(b"GET /rate_limit HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_bad_gateway_may_hide_that_the_server_acted(server: GitHubServer, repository: str, api: Api) -> None:
    server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, moment=Moment.AFTER))
    assert api.call("POST", "/releases", json=CREATE).status_code == 502
    assert len(server.releases(repository)) == 1


def test_it_befalls_the_nth_request_as_often_as_asked(server: GitHubServer, api: Api) -> None:
    server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, call=2, times=2))
    assert [api.call("GET").status_code for _ in range(4)] == [200, 502, 502, 200]


def test_it_befalls_only_what_matches(server: GitHubServer, api: Api) -> None:
    fault = Fault(effect=Effect.BAD_GATEWAY, method="GET", path=r"/releases/\d+$", times=9)
    before = len(server.exchanges)
    server.faults.arm(fault)
    release = api.draft("v1")
    assert api.call("GET", "/releases").status_code == 200
    assert api.call("GET", f"/releases/{release['id']}").status_code == 502
    assert api.edit(release, name="x").status_code == 200
    (hit,) = [exchange for exchange in server.exchanges[before:] if exchange.fault]
    assert (hit.method, hit.path.rpartition("/")[2], hit.status) == ("GET", str(release["id"]), 502)


def test_wrecks_befall_uploads_only(server: GitHubServer, api: Api) -> None:
    wreck = server.faults.arm(Fault(effect=Effect.STARTER))
    cut = server.faults.arm(Fault(effect=Effect.RESET, moment=Moment.MIDWAY, call=2))
    draft = api.draft("v1")
    assert not wreck.reached.is_set()
    assert api.upload(draft, "a.bin", DATA).status_code == 502
    assert (wreck.reached.is_set(), cut.reached.is_set()) == (True, False)
    with pytest.raises(requests.ConnectionError):
        api.upload(draft, "b.bin", DATA)
    assert cut.reached.is_set()


def test_what_is_cleared_does_not_happen(server: GitHubServer, api: Api) -> None:
    server.faults.arm(Fault(effect=Effect.RESET, times=9))
    server.faults.clear()
    assert api.get()["name"]


@pytest.mark.parametrize(("moment", "before"), [(Moment.BEFORE, 0), (Moment.AFTER, 1)])
def test_a_pause_holds_a_request_until_it_may_go_on(
    server: GitHubServer, repository: str, api: Api, pool: ThreadPoolExecutor, *, moment: Moment, before: int
) -> None:
    held = server.faults.arm(Fault(effect=Effect.PAUSE, moment=moment, method="POST"))
    made = pool.submit(api.draft, "v1")
    assert held.reached.wait(WAIT)
    assert len(server.releases(repository)) == before
    assert not made.done()
    held.proceed()
    assert made.result(WAIT)["tag_name"] == "v1"


@pytest.mark.parametrize(("moment", "acted"), [(Moment.BEFORE, False), (Moment.AFTER, True)])
def test_a_client_killed_in_a_pause_leaves_what_was_done_by_then(
    server: GitHubServer, repository: str, moment: Moment, *, acted: bool
) -> None:
    held = server.faults.arm(Fault(effect=Effect.PAUSE, moment=moment, method="POST"))
    argv = [
        "curl", "--silent", "--data", json.dumps(CREATE), "--header", "Content-Type: application/json",
        "--header", f"Authorization: Bearer {server.token}", f"{server.url}/repos/{repository}/releases",
    ]  # fmt: skip
    with spawn(argv) as client:
        assert held.reached.wait(WAIT)
        client.kill()
    server.faults.clear()
    wait_until(lambda: any(repository in exchange.path and exchange.fault for exchange in server.exchanges))
    assert [release["tag_name"] for release in server.releases(repository)] == (["v1"] if acted else [])


def test_an_upload_can_be_stopped_midway(
    server: GitHubServer, api: Api, pool: ThreadPoolExecutor, repository: str
) -> None:
    draft = api.draft("v1")
    held = server.faults.arm(Fault(effect=Effect.PAUSE, moment=Moment.MIDWAY, path="^/api/uploads"))
    sent = pool.submit(api.upload, draft, "a.bin", DATA)
    assert held.reached.wait(WAIT)
    (asset,) = server.releases(repository)[0]["assets"]
    size = server.asset_bytes(asset["id"]).stat().st_size
    assert (asset["state"], len(DATA) // 2 <= size < len(DATA)) == ("starter", True)
    held.proceed()
    assert sent.result(WAIT).json()["state"] == "uploaded"


def test_a_half_received_upload_can_get_a_bad_gateway(server: GitHubServer, api: Api) -> None:
    draft: dict[str, Any] = api.draft("v1")
    server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, moment=Moment.MIDWAY, path="^/api/uploads"))
    assert api.upload(draft, "a.bin", DATA).status_code == 502


def test_a_hang_ends_when_faults_are_cleared(server: GitHubServer, api: Api, pool: ThreadPoolExecutor) -> None:
    held = server.faults.arm(Fault(effect=Effect.HANG))
    asked = pool.submit(api.call, "GET")
    assert held.reached.wait(WAIT)
    server.faults.clear()
    assert isinstance(asked.exception(WAIT), requests.ConnectionError)


def test_the_log_tells_what_was_done_to_whom(server: GitHubServer, api: Api) -> None:
    server.faults.arm(Fault(effect=Effect.RESET, moment=Moment.AFTER, method="POST"))
    with pytest.raises(requests.ConnectionError):
        api.draft("v1")
    api.get("/releases?per_page=5")
    lost, kept = server.exchanges[-2:]
    assert (lost.method, lost.status, lost.fault, lost.request_body) == ("POST", None, "connection reset after", CREATE)
    assert (kept.query, kept.status, kept.fault, len(kept.response_body)) == ({"per_page": "5"}, 200, None, 1)
    assert server.token not in repr(server.exchanges)


def test_a_request_that_ends_late_is_not_one_of_those_that_followed(
    server: GitHubServer, api: Api, pool: ThreadPoolExecutor
) -> None:
    held = server.faults.arm(Fault(effect=Effect.PAUSE, moment=Moment.AFTER, method="POST"))
    made = pool.submit(api.draft, "v1")
    assert held.reached.wait(WAIT)
    late, after = len(server.exchanges) - 1, len(server.exchanges)
    held.proceed()
    made.result(WAIT)
    api.get()
    assert [exchange.method for exchange in server.exchanges[after:]] == ["GET"]
    assert (server.exchanges[late].status, server.exchanges[late].fault) == (201, "pause after")
