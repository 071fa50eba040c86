"""The consumer's tool against a real server that fails on command: the right bytes, or a clear error."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci.host.errors import FetchError, InputError, ToolsmithError, VerificationError
from ci.host.repository import ROOT
from tests.support import consumer_model
from tests.support.consuming import DIGEST, FILE, IMAGE, Consumer, manifest
from tests.support.fault_server import Fault, FaultServer, Pause

pytestmark = pytest.mark.integration

PATH = f"/releases/download/v2026.11.23/{FILE}"
SIZE = len(IMAGE)


@pytest.fixture
def consumer(server: FaultServer, tmp_path: Path) -> Consumer:
    """A workspace whose manifest names an image on the server."""
    result = Consumer(tmp_path)
    result.write(manifest(server.publish(PATH, IMAGE), size=SIZE, version="v2026.11.23"))
    return result


def assert_hydrated(consumer: Consumer) -> None:
    assert consumer.cached().read_bytes() == IMAGE
    assert consumer.files() == {".toolsmith/tools.json", str(consumer.cached().relative_to(consumer.workspace))}


def test_one_command_from_a_manifest_to_what_toolsmith_boots(server: FaultServer, consumer: Consumer) -> None:
    result = consumer.run("--localize")
    assert (result["state"], result["path"]) == ("downloaded", str(consumer.cached()))
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    assert_hydrated(consumer)
    assert consumer.run()["state"] == "cached"
    assert len(server.requests) == 1


def test_a_manifest_from_the_network_leads_to_the_same(server: FaultServer, tmp_path: Path) -> None:
    server.publish(f"/releases/{FILE}", IMAGE)
    url = server.publish("/releases/tools.json", json.dumps(manifest(FILE)).encode(), content_type="application/json")
    consumer = Consumer(tmp_path)
    consumer.run("--manifest", url, "--localize")
    assert consumer_model.hydrate(tmp_path) == consumer.cached()
    assert_hydrated(consumer)


def test_an_emptied_cache_of_a_localized_manifest_is_filled_again(consumer: Consumer) -> None:
    consumer.run("--localize")
    consumer.cached().unlink()
    assert consumer.run()["state"] == "downloaded"
    assert_hydrated(consumer)


PASSING = {
    "dropped": [Fault(cut_after=SIZE // 2)],
    "dropped before the first byte": [Fault(cut_after=0)],
    "dropped at every tenth": [Fault(cut_after=SIZE // 10)] * 9,
    "without ranges after a drop": [Fault(cut_after=SIZE // 2), Fault(ignore_range=True)],
    "429": [Fault(status=429, headers={"Retry-After": "3"})],
    "500, 502, 503, 504": [Fault(status=status) for status in (500, 502, 503, 504)],
    "416 for the rest": [Fault(cut_after=SIZE // 2), Fault(status=416)],
    "another range": [
        Fault(cut_after=SIZE // 2),
        Fault(headers={"Content-Range": f"bytes 7-{SIZE - 1}/{SIZE}"}),
    ],
    "other bytes in the right range": [Fault(cut_after=SIZE // 2), Fault(body=lambda data: data[::-1])],
    "compressed": [Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress)],
    "redirected": [Fault(status=302, headers={"Location": PATH})],
}


@pytest.mark.parametrize("faults", PASSING.values(), ids=PASSING)
def test_what_passes_is_overcome(server: FaultServer, consumer: Consumer, faults: list[Fault]) -> None:
    server.arm(PATH, *faults)
    assert consumer.run()["state"] == "downloaded"
    assert_hydrated(consumer)


@pytest.mark.parametrize("tenth", range(10))
def test_a_drop_at_any_tenth_costs_what_was_not_there_yet(server: FaultServer, consumer: Consumer, tenth: int) -> None:
    server.arm(PATH, Fault(cut_after=SIZE * tenth // 10))
    consumer.run()
    assert_hydrated(consumer)
    assert server.ranges(PATH) == [None, f"bytes={SIZE * tenth // 10}-" if tenth else None]


FINAL = {
    "403": (FetchError, "403", [Fault(status=403)]),
    "404": (FetchError, "does not exist", [Fault(status=404)]),
    "416": (FetchError, "416", [Fault(status=416)]),
    "429 for ever": (FetchError, "429", [Fault(status=429)] * 20),
    "500 for ever": (FetchError, "500", [Fault(status=500)] * 20),
    "redirect loop": (FetchError, "in a circle", [Fault(status=302, headers={"Location": PATH})] * 20),
    "redirect to a file": (
        FetchError,
        "no web address",
        [Fault(status=302, headers={"Location": "file:///etc/passwd"})],
    ),
    "web page": (FetchError, "web page", [Fault(headers={"Content-Type": "text/html"})]),
    "too short": (VerificationError, f"has {SIZE - 1} bytes", [Fault(announce=SIZE - 1)] * 2),
    "other bytes": (VerificationError, "It came twice", [Fault(body=lambda data: data[::-1])] * 2),
    "compressed": (FetchError, "compressed", [Fault(headers={"Content-Encoding": "gzip"}, body=gzip.compress)] * 2),
    "too long": (VerificationError, f"has {SIZE + 1} bytes", [Fault(announce=SIZE + 1)] * 2),
}


@pytest.mark.parametrize(("kind", "words", "faults"), FINAL.values(), ids=FINAL)
def test_what_stays_is_named_and_leaves_nothing(
    server: FaultServer, consumer: Consumer, kind: type[ToolsmithError], words: str, faults: list[Fault]
) -> None:
    server.arm(PATH, *faults)
    with pytest.raises(kind, match=words) as failure:
        consumer.run()
    assert failure.value.hint
    assert consumer.files() == {".toolsmith/tools.json"}


@pytest.mark.parametrize("size", [SIZE, None])
def test_wrong_bytes_are_refused_and_removed(server: FaultServer, consumer: Consumer, size: int | None) -> None:
    consumer.write(manifest(server.url(PATH)) if size is None else manifest(server.url(PATH), size=size))
    for body in (os.urandom(SIZE), IMAGE[:-1] + b"?", b"<!DOCTYPE html>" + IMAGE[15:]):
        server.publish(PATH, body)
        with pytest.raises((VerificationError, FetchError)):
            consumer.run()
        assert consumer.files() == {".toolsmith/tools.json"}


def test_a_corrupt_image_is_replaced_or_gone(server: FaultServer, consumer: Consumer) -> None:
    consumer.run()
    consumer.cached().write_bytes(b"\0" * SIZE)
    assert consumer.run()["state"] == "downloaded"
    assert_hydrated(consumer)
    consumer.cached().write_bytes(b"\0" * SIZE)
    server.arm(PATH, Fault(status=404))
    with pytest.raises(FetchError):
        consumer.run()
    assert consumer.files() == {".toolsmith/tools.json"}


def test_a_replaced_image_is_fetched_anew_and_not_joined(server: FaultServer, consumer: Consumer) -> None:
    server.publish(PATH, os.urandom(SIZE), etag='"old"')
    renew = Fault(cut_after=SIZE // 2, after=lambda: server.publish(PATH, IMAGE, etag='"new"'))
    server.arm(PATH, renew)
    consumer.run()
    assert_hydrated(consumer)


def test_a_manifest_of_a_hundred_megabytes_is_not_fetched(server: FaultServer, tmp_path: Path) -> None:
    url = server.publish("/tools.json", b"{", content_type="application/json")
    server.arm("/tools.json", Fault(announce=100_000_000))
    with pytest.raises(FetchError, match="larger than"):
        Consumer(tmp_path).run("--manifest", url)
    server.arm("/tools.json", Fault(headers={"Content-Length": "unknown", "Connection": "close"}))
    server.publish("/tools.json", b"[" * 5_000_000)
    with pytest.raises(FetchError, match="larger than"):
        Consumer(tmp_path).run("--manifest", url)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_from_the_network_is_held_to_the_same_rules(server: FaultServer, tmp_path: Path) -> None:
    for document in (manifest(f"../{FILE}"), manifest("/etc/passwd"), manifest("file:///etc/passwd")):
        url = server.publish("/tools.json", json.dumps(document).encode())
        with pytest.raises(InputError):
            Consumer(tmp_path).run("--manifest", url)
    assert list(tmp_path.iterdir()) == []


def tool(consumer: Consumer, *flags: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "ci.ensure_vm", "--workspace", str(consumer.workspace), "--json", *flags],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_of_two_runs_one_fetches_and_the_other_waits_for_it(server: FaultServer, consumer: Consumer) -> None:
    pause = Pause()
    server.arm(PATH, Fault(before=pause))
    with tool(consumer) as first:
        assert pause.reached.wait(60)
        with tool(consumer) as second:
            assert second.stderr is not None
            assert "waiting" in second.stderr.readline()
            pause.over.set()
            second_state = json.loads(second.communicate(timeout=60)[0])["state"]
        first_state = json.loads(first.communicate(timeout=60)[0])["state"]
    assert (first_state, second_state) == ("downloaded", "cached")
    assert server.ranges(PATH) == [None]


def test_each_kind_of_failure_has_its_exit_code(server: FaultServer, consumer: Consumer) -> None:
    codes = []
    for faults in ([Fault(status=403)], [Fault(announce=SIZE + 1)] * 2):
        server.arm(PATH, *faults)
        with tool(consumer) as run:
            printed, said = run.communicate(timeout=60)
        codes.append(run.returncode)
        assert printed == ""
        assert "next:" in said
    assert codes == [FetchError.exit_code, VerificationError.exit_code]


def test_a_proxy_is_used_where_the_environment_names_one(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://images.example{PATH}"
    server.publish(url, IMAGE)  # asked as a proxy, the server is given whole URLs
    consumer = Consumer(tmp_path)
    consumer.write(manifest(url))
    monkeypatch.setenv("http_proxy", server.url(""))
    consumer.run()
    assert [request.path for request in server.requests] == [url]
    assert hashlib.sha256(consumer.cached().read_bytes()).hexdigest() == DIGEST
