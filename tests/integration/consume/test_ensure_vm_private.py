"""Images of private releases: found with a token, which nobody but the API is shown."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.host.errors import AccessError, FetchError, InputError
from ci.rehearsal.server import GitHubServer
from tests.support.consuming import FILE, IMAGE, Consumer, manifest
from tests.support.fault_server import Fault, FaultServer
from tests.support.releasing import TAG
from tests.support.stage import Stage

pytestmark = pytest.mark.integration

PUBLIC = f"/fountain/image/releases/download/{TAG}/{FILE}"
RELEASE = f"/api/v3/repos/fountain/image/releases/tags/{TAG}"
ASSET = "/api/v3/repos/fountain/image/releases/assets/7"
SECRET = "ghs_not_for_everybody"  # noqa: S105 - no real one


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")


class Private:
    """A GitHub Enterprise Server whose release only the API shows, and a store that it sends on to."""

    def __init__(self, server: FaultServer, store: FaultServer, folder: Path) -> None:
        self.server, self.store = server, store
        # A release's address has nothing behind it; the API knows the asset, and redirects to a signed address.
        server.publish(ASSET, b"")
        server.arm(ASSET, *[Fault(status=302, headers={"Location": store.publish("/signed", IMAGE)})] * 9)
        self.answer(server.url(ASSET))
        self.consumer = Consumer(folder)
        self.consumer.write(manifest(server.url(PUBLIC)))
        self.environ = {"GITHUB_TOKEN": SECRET, "GITHUB_SERVER_URL": server.url("")}

    def answer(self, url: str, name: str = FILE) -> None:
        release = {"assets": [{"name": "other", "url": self.server.url("/x")}, {"name": name, "url": url}]}
        self.server.publish(RELEASE, json.dumps(release).encode(), content_type="application/json")

    def shown_the_token(self) -> set[str]:
        """The addresses that were asked with it."""
        return {
            f"{server.url('')}{request.path}"
            for server in (self.server, self.store)
            for request in server.requests
            if "Authorization" in request.headers
        }


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Private]:
    with FaultServer() as server, FaultServer() as store:
        yield Private(server, store, tmp_path)


def test_a_private_image_comes_with_a_token_that_only_the_api_sees(private: Private) -> None:
    assert private.consumer.run(environ=private.environ)["state"] == "downloaded"
    assert private.consumer.cached().read_bytes() == IMAGE
    assert private.shown_the_token() == {private.server.url(RELEASE), private.server.url(ASSET)}
    assert private.server.requests[0].path == PUBLIC  # what is public needs no token
    assert private.server.requests[-1].headers["Accept"] == "application/octet-stream"
    assert SECRET not in private.consumer.said.getvalue()


def test_a_broken_download_is_continued_through_the_api(private: Private) -> None:
    private.store.arm("/signed", Fault(cut_after=1_000_000))
    private.consumer.run(environ=private.environ)
    assert private.store.ranges("/signed") == [None, "bytes=1000000-"]
    assert private.consumer.cached().read_bytes() == IMAGE


def test_a_public_image_is_fetched_without_showing_the_token(private: Private) -> None:
    private.server.publish(PUBLIC, IMAGE)
    private.consumer.run(environ=private.environ)
    assert private.shown_the_token() == set()


def test_without_a_token_the_error_says_that_one_may_help(private: Private) -> None:
    with pytest.raises(FetchError, match="does not exist") as failure:
        private.consumer.run()
    assert "GITHUB_TOKEN" in failure.value.hint


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_does_not_do_is_an_error_of_its_own(private: Private, status: int) -> None:
    private.server.arm(RELEASE, Fault(status=status))
    with pytest.raises(AccessError, match=str(status)):
        private.consumer.run(environ=private.environ)


def test_a_file_that_the_release_does_not_have_does_not_exist(private: Private) -> None:
    private.answer(private.server.url(ASSET), name="another.qcow2")
    with pytest.raises(FetchError, match="does not exist"):
        private.consumer.run(environ=private.environ)


def test_an_api_that_sends_to_another_server_is_not_followed(private: Private) -> None:
    private.answer(private.store.url("/signed"))
    with pytest.raises(FetchError, match="sends elsewhere"):
        private.consumer.run(environ=private.environ)
    assert private.shown_the_token() == {private.server.url(RELEASE)}
    assert private.store.requests == []


def test_another_servers_404_is_no_reason_to_show_the_token(private: Private) -> None:
    private.consumer.write(manifest(private.store.url(PUBLIC)))
    with pytest.raises(FetchError, match="does not exist"):
        private.consumer.run(environ=private.environ)
    assert private.shown_the_token() == set()


def test_a_netrc_does_not_replace_the_token(
    private: Private, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login bob password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    private.consumer.run(environ=private.environ)
    assert {request.headers["Authorization"] for request in private.server.requests if request.path == ASSET} == {
        f"Bearer {SECRET}"
    }


def test_a_token_goes_to_no_server_by_plain_http_but_this_machine(tmp_path: Path) -> None:
    consumer = Consumer(tmp_path)
    consumer.write(manifest("https://example.org/x.qcow2"))
    with pytest.raises(InputError, match="no token may be sent"):
        consumer.run(environ={"GITHUB_TOKEN": SECRET, "GITHUB_API_URL": "http://api.example.org"})


def test_the_local_github_agrees(tmp_path: Path) -> None:
    with GitHubServer.start(tmp_path / "github") as server:
        repository = server.create_repository("image", {"README.md": "x"}, private=True)
        environ = {
            "GITHUB_API_URL": server.url,
            "GITHUB_SERVER_URL": server.url,
            "GITHUB_REPOSITORY": repository,
            "GITHUB_TOKEN": server.job_token(repository, contents="write").secret,
        }
        stage = Stage(server=server, repository=repository, folder=tmp_path, environ=environ)
        stage.build()
        assert stage.publish().code == 0
        release = server.releases(repository)[0]
        asset = next(asset for asset in release["assets"] if asset["name"].endswith(".qcow2"))
        consumer = Consumer(tmp_path / "workspace")
        document = manifest(asset["browser_download_url"], qcow2_sha256=asset["digest"].removeprefix("sha256:"))
        consumer.write(document)
        with pytest.raises(FetchError, match="does not exist"):
            consumer.run()
        with pytest.raises(AccessError):
            consumer.run(environ={**environ, "GITHUB_TOKEN": server.tokens.expired.secret})
        result = consumer.run(environ=environ)
        assert result["state"] == "downloaded"
        assert Path(result["path"]).stat().st_size == asset["size"]
