import hashlib
import http.client
import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from github import GithubException
from github.Repository import Repository

from ci.host.repository import ROOT
from ci.rehearsal.faults import Effect, Fault, Moment
from ci.rehearsal.server import GitHubServer
from tests.support.calls import BYTES, Api, errors_of, wait_until

pytestmark = pytest.mark.integration

DATA = bytes(range(256)) * 1000
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
RECORDING = ROOT / "tests/support/openapi/api/release-assets-conflict.json"


@pytest.fixture
def draft(api: Api) -> dict[str, Any]:
    return api.draft("v1")


def recorded(status: int) -> dict[str, Any]:
    """What GitHub itself answered to an upload."""
    exchanges = json.loads(RECORDING.read_bytes())["exchanges"]
    return next(exchange["response"] for exchange in exchanges if exchange["status"] == status)


def test_an_asset_has_size_digest_and_bytes(client: Repository, server: GitHubServer, tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(DATA)
    asset = client.create_git_release("v1", "One", "", draft=True).upload_asset(str(file))
    assert (asset.name, asset.state, asset.size, asset.digest) == ("a.bin", "uploaded", len(DATA), DIGEST)
    assert server.asset_bytes(asset.id).read_bytes() == DATA


def test_an_asset_has_everything_that_one_of_githubs_has(api: Api, draft: dict[str, Any]) -> None:
    missing = recorded(201).keys() - api.uploaded(draft, "a.bin", DATA).keys()
    # `user_view_type` and the like came later and may be more; nothing may be less.
    assert not missing


def test_a_second_asset_of_a_name_is_refused_in_githubs_words(api: Api, draft: dict[str, Any]) -> None:
    api.uploaded(draft, "test-upload.txt", b"Hello, world!\n")
    refused = api.upload(draft, "test-upload.txt", b"Hello, world!\n")
    assert refused.status_code == 422
    assert refused.json() | {"request_id": "0000:00000:0000000:0000000:00000000"} == recorded(422)


def test_after_its_deletion_the_name_is_free(api: Api, draft: dict[str, Any], server: GitHubServer) -> None:
    first = api.uploaded(draft, "a.bin", b"old")
    kept = server.asset_bytes(first["id"])
    assert api.call("DELETE", f"/releases/assets/{first['id']}").status_code == 204
    assert not kept.exists()
    assert api.uploaded(draft, "a.bin", DATA)["digest"] == DIGEST
    assert [asset["digest"] for asset in api.get(f"/releases/{draft['id']}/assets")] == [DIGEST]


def test_a_failed_upload_leaves_an_empty_starter_that_blocks_the_name(
    api: Api, draft: dict[str, Any], server: GitHubServer
) -> None:
    server.faults.arm(Fault(effect=Effect.STARTER, path="^/api/uploads"))
    assert api.upload(draft, "a.bin", DATA).status_code == 502
    (wreck,) = api.get(f"/releases/{draft['id']}/assets")
    assert (wreck["name"], wreck["state"], wreck["size"], wreck["digest"]) == ("a.bin", "starter", 0, None)
    assert errors_of(api.upload(draft, "a.bin", DATA))[0]["code"] == "already_exists"
    assert api.call("DELETE", f"/releases/assets/{wreck['id']}").status_code == 204
    assert api.uploaded(draft, "a.bin", DATA)["state"] == "uploaded"


def test_a_broken_upload_leaves_a_starter_too(api: Api, draft: dict[str, Any], server: GitHubServer) -> None:
    server.faults.arm(Fault(effect=Effect.RESET, moment=Moment.MIDWAY, path="^/api/uploads"))
    with pytest.raises(requests.ConnectionError):
        api.upload(draft, "a.bin", DATA * 40)
    assert [asset["state"] for asset in api.get(f"/releases/{draft['id']}/assets")] == ["starter"]


def test_an_upload_whose_client_dies_leaves_a_starter_too(
    api: Api, draft: dict[str, Any], server: GitHubServer
) -> None:
    url = urlsplit(draft["upload_url"].partition("{")[0])
    with socket.create_connection((url.hostname, url.port)) as client:
        head = f"POST {url.path}?name=a.bin HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {server.token}\r\n"
        client.sendall(f"{head}Content-Length: {len(DATA)}\r\n\r\n".encode() + DATA[:1000])
        wait_until(lambda: api.get(f"/releases/{draft['id']}/assets") != [])
    assert [asset["state"] for asset in api.get(f"/releases/{draft['id']}/assets")] == ["starter"]


def test_a_planted_starter_looks_the_same(
    api: Api, draft: dict[str, Any], server: GitHubServer, repository: str
) -> None:
    planted = server.plant_starter(repository, draft["id"], "a.bin")
    asset = api.get(f"/releases/assets/{planted}")
    assert (asset["state"], asset["size"], asset["digest"]) == ("starter", 0, None)
    assert errors_of(api.upload(draft, "a.bin", DATA))[0]["code"] == "already_exists"


def test_uploads_go_to_the_upload_url_only(api: Api, draft: dict[str, Any], server: GitHubServer) -> None:
    assert draft["upload_url"].startswith(f"{server.upload_url}/repos/")
    elsewhere = api.call("POST", f"/releases/{draft['id']}/assets?name=a.bin", data=DATA, headers=BYTES)
    assert elsewhere.status_code == 404
    assert api.get(f"/releases/{draft['id']}/assets") == []


@pytest.mark.parametrize(
    ("name", "stored"),
    [("a b(1).txt", "a.b.1.txt"), (".hidden.", "hidden"), ("curl_7.88-1+deb~1.bin", "curl_7.88-1+deb.1.bin")],
)
def test_a_name_with_special_characters_is_changed(api: Api, draft: dict[str, Any], name: str, stored: str) -> None:
    assert api.uploaded(draft, name, DATA)["name"] == stored


def test_an_empty_file_is_refused(api: Api, draft: dict[str, Any]) -> None:
    (error,) = errors_of(api.upload(draft, "a.bin", b""))
    assert error["message"] == "size must be greater than or equal to 1"


def test_a_file_of_more_than_2_gib_is_refused(api: Api, draft: dict[str, Any], server: GitHubServer) -> None:
    url = urlsplit(draft["upload_url"].partition("{")[0])
    connection = http.client.HTTPConnection(url.netloc, timeout=60)
    length = {"Content-Length": str((1 << 31) + 1), "Authorization": f"Bearer {server.token}"}
    connection.putrequest("POST", f"{url.path}?name=a.bin")
    for name, value in {**length, **BYTES}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["errors"][0]["message"] == "size must be less than or equal to 2147483648"
    assert api.get(f"/releases/{draft['id']}/assets") == []


def test_an_upload_of_unknown_length_is_refused(api: Api, draft: dict[str, Any]) -> None:
    url = draft["upload_url"].partition("{")[0]
    response = api.session.post(url, params={"name": "a.bin"}, data=iter([DATA]), headers=BYTES, timeout=60)
    assert (response.status_code, response.json()["message"]) == (400, "Bad Content-Length: ")


def test_anybody_can_download_what_is_published(api: Api, draft: dict[str, Any]) -> None:
    asset = api.uploaded(draft, "a.bin", DATA)
    assert requests.get(asset["browser_download_url"], timeout=60).status_code == 404
    (published,) = api.publish(draft)["assets"]
    assert published["browser_download_url"].endswith("/releases/download/v1/a.bin")
    download = requests.get(published["browser_download_url"], timeout=60)
    assert [response.status_code for response in download.history] == [302]
    assert download.content == DATA
    latest = published["browser_download_url"].replace("/download/v1/", "/latest/download/")
    assert requests.get(latest, timeout=60).content == DATA
    assert api.get(f"/releases/assets/{asset['id']}")["download_count"] == 2


def test_nobody_downloads_from_a_private_repository(server: GitHubServer) -> None:
    hidden = server.create_repository("hidden", {"a": "b"}, private=True)
    with Api(server, hidden, server.tokens.admin) as api:
        draft = api.draft("v1")
        api.uploaded(draft, "a.bin", DATA)
        (asset,) = api.publish(draft)["assets"]
    assert requests.get(asset["browser_download_url"], timeout=60).status_code == 404


def test_a_download_goes_on_where_it_broke_off(api: Api, draft: dict[str, Any]) -> None:
    api.uploaded(draft, "a.bin", DATA)
    url = api.publish(draft)["assets"][0]["browser_download_url"]
    etag = requests.get(url, timeout=60).headers["ETag"]
    rest = requests.get(url, headers={"Range": "bytes=1000-", "If-Range": etag}, timeout=60)
    assert (rest.status_code, rest.content) == (206, DATA[1000:])
    other = requests.get(url, headers={"Range": "bytes=1000-", "If-Range": '"other"'}, timeout=60)
    assert (other.status_code, other.content) == (200, DATA)


def test_the_api_leads_to_the_bytes_of_a_draft_too(api: Api, draft: dict[str, Any]) -> None:
    asset = api.uploaded(draft, "a.bin", DATA)
    octets = {"Accept": "application/octet-stream"}
    redirect = api.call("GET", f"/releases/assets/{asset['id']}", headers=octets, allow_redirects=False)
    assert (redirect.status_code, redirect.content) == (302, b"")
    assert api.call("GET", f"/releases/assets/{asset['id']}", headers=octets).content == DATA
    anonymous = requests.get(asset["url"], headers=octets, timeout=60)
    assert anonymous.status_code == 404


def test_a_starter_has_no_bytes(api: Api, draft: dict[str, Any], server: GitHubServer, repository: str) -> None:
    planted = server.plant_starter(repository, draft["id"], "a.bin")
    octets = {"Accept": "application/octet-stream"}
    assert api.call("GET", f"/releases/assets/{planted}", headers=octets).status_code == 404


def test_pygithub_sees_a_duplicate_as_its_exception(client: Repository, tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(DATA)
    draft = client.create_git_release("v1", "One", "", draft=True)
    draft.upload_asset(str(file))
    with pytest.raises(GithubException) as caught:
        draft.upload_asset(str(file))
    assert (caught.value.status, caught.value.data["errors"][0]["code"]) == (422, "already_exists")
