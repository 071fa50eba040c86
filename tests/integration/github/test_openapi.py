import json
from dataclasses import replace
from pathlib import Path

import pytest
from github import InputGitTreeElement
from github.Repository import Repository

from ci.rehearsal.exchanges import Exchange
from ci.rehearsal.server import GitHubServer
from tests.support.calls import Api
from tests.support.openapi.describe import CALLS, references
from tests.support.openapi.openapi import DESCRIPTION, findings

pytestmark = pytest.mark.integration

BASE = "/repos/o/r"


def release_and_roll_out(client: Repository, api: Api, server: GitHubServer, file: Path) -> None:
    """All kinds of calls that a release and a roll-out may make."""
    api.get(f"{server.url}/user")
    api.call("GET", "/immutable-releases")
    server.set_immutable_releases(client.full_name, enabled=True)
    api.get("/immutable-releases")
    server.set_immutable_releases(client.full_name, enabled=False)
    draft = client.create_git_release("v1", "One", "Notes", draft=True)
    draft.upload_asset(str(file)).delete_asset()
    asset = draft.upload_asset(str(file), label="A")
    api.call("POST", f"{draft.upload_url.partition('{')[0]}?name=a.bin", data=b"again")
    assert [found.id for found in draft.get_assets()] == [asset.id]
    draft.update_release("One", "Notes", draft=False, make_latest="true")
    assert client.get_release("v1").id == client.get_latest_release().id
    assert client.get_git_ref("tags/v1").ref == "refs/tags/v1"
    main = client.get_git_ref("heads/main")
    parent = client.get_git_commit(main.object.sha)
    blob = client.create_git_blob("B\n", "utf-8")
    entries = [
        InputGitTreeElement("docs/a.md", "100644", "blob", "A\n"),
        InputGitTreeElement("docs/b.md", "100644", "blob", sha=blob.sha),
        InputGitTreeElement("README.md", "100644", "blob", sha=None),
    ]
    commit = client.create_git_commit("Bump", client.create_git_tree(entries, parent.tree), [parent])
    branch = client.create_git_ref("refs/heads/bump/v1", commit.sha)
    branch.edit(commit.sha, force=True)
    assert client.get_git_tree(commit.tree.sha, recursive=True).tree
    assert client.get_contents("docs/b.md", ref="bump/v1")
    assert client.get_contents("docs", ref="bump/v1")
    assert client.compare("main", "bump/v1").ahead_by == 1
    assert client.get_commit("bump/v1").sha == commit.sha
    assert client.get_git_blob(blob.sha).encoding == "base64"
    pull = client.create_pull(base="main", head="bump/v1", title="Bump", body="Why")
    pull.edit(title="Bump again", body="Because")
    pull.create_issue_comment("Said").edit("Said again")
    assert [comment.body for comment in pull.get_issue_comments()] == ["Said again"]
    pull.add_to_labels("bump")
    assert [label.name for label in pull.get_labels()] == ["bump"]
    assert client.get_pull(pull.number).title == "Bump again"
    assert list(client.get_pulls(state="all", head=f"{client.owner.login}:bump/v1"))
    branch.delete()


def test_a_whole_release_and_roll_out_is_as_github_describes_it(
    client: Repository, api: Api, server: GitHubServer, tmp_path: Path
) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"bytes")
    before = len(server.exchanges)
    release_and_roll_out(client, api, server, file)
    exchanges = server.exchanges[before:]
    assert len(exchanges) > 30
    assert [message for exchange in exchanges for message in findings(exchange)] == []


def test_the_description_is_complete_in_itself() -> None:
    description = json.loads(DESCRIPTION.read_bytes())
    for reference in references(description):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in description["components"][kind]
    assert set(description["paths"]) == set(CALLS)


def an_exchange(method: str, path: str, status: int = 200, **fields: object) -> Exchange:
    plain = Exchange(
        method=method,
        path=path,
        query={},
        request_headers={},
        authorized=True,
        request_body=None,
        status=status,
        response_body=None,
        fault=None,
    )
    return replace(plain, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("exchange", "finding"),
    [
        (an_exchange("PATCH", f"{BASE}/git/ref/heads/x", request_body={"sha": "1"}), "has no such call"),
        (an_exchange("POST", f"{BASE}/releases/1/assets", query={"name": "a"}), "has no such call"),
        (an_exchange("POST", f"/api/uploads{BASE}/releases/1/assets"), "query parameter name is missing"),
        (an_exchange("GET", f"{BASE}/pulls", query={"author": "me"}), "unknown query parameter author"),
        (an_exchange("GET", f"{BASE}/pulls", query={"state": "opened"}), "'opened' is not one of"),
        (an_exchange("GET", f"{BASE}/releases", query={"per_page": "all"}), "is no integer"),
        (an_exchange("POST", f"{BASE}/releases", request_body={"name": "x"}), "'tag_name' is a required property"),
        (an_exchange("POST", f"{BASE}/releases", request_body={"tag_name": 1}), "1 is not of type 'string'"),
        (
            an_exchange("POST", f"{BASE}/releases", request_body={"tag_name": "v", "latest": True}),
            "unknown field latest",
        ),
        (an_exchange("POST", f"{BASE}/git/refs"), "request body: None"),
        (an_exchange("GET", f"{BASE}/releases/1", request_body={"a": 1}), "takes no request body"),
        (an_exchange("GET", f"{BASE}/releases/latest", 202), "undocumented status"),
        (an_exchange("GET", f"{BASE}/releases/latest"), "answer: None"),
        (an_exchange("DELETE", f"{BASE}/releases/1", 204, response_body={}), "answer has a body"),
        (an_exchange("GET", f"{BASE}/releases/1", 404, response_body={"message": 1}), "1 is not of type 'string'"),
        (an_exchange("GET", f"{BASE}/releases/assets/1", response_body={"id": 1}), "'digest' is a required property"),
    ],
)
def test_what_github_does_not_describe_is_found(exchange: Exchange, finding: str) -> None:
    assert any(finding in message for message in findings(exchange)), findings(exchange)


@pytest.mark.parametrize(
    "exchange",
    [
        an_exchange("GET", "/o/r/releases/download/v1/a.bin", 302),
        an_exchange("GET", f"{BASE}/anything", status=None),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_call_or_got_no_answer_is_not_judged(exchange: Exchange) -> None:
    assert findings(exchange) == []
