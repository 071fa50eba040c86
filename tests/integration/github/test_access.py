from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import requests
from github import Auth, BadCredentialsException, Github

from ci.rehearsal.access import Token
from ci.rehearsal.server import GitHubServer
from tests.support.calls import Api

pytestmark = pytest.mark.integration


@pytest.fixture
def by(server: GitHubServer, repository: str) -> Iterator[Callable[[Token | None], Api]]:
    """Calls in the name of a token."""
    with ExitStack() as stack:
        yield lambda token: stack.enter_context(Api(server, repository, token))


def told(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["message"]


@pytest.mark.parametrize("path", ["", "/releases", "/git/ref/heads/main"])
def test_an_expired_or_unknown_token_is_refused_everywhere(
    server: GitHubServer, by: Callable[[Token | None], Api], path: str
) -> None:
    unknown = Token(secret="guessed", login="x", permission=server.tokens.admin.permission)  # noqa: S106
    for token in (server.tokens.expired, unknown):
        assert told(by(token).call("GET", path)) == (401, "Bad credentials")


def test_pygithub_sees_a_bad_token_as_its_exception(server: GitHubServer, repository: str) -> None:
    with (
        Github(base_url=server.url, auth=Auth.Token(server.tokens.expired.secret), retry=None) as github,
        pytest.raises(BadCredentialsException),
    ):
        github.get_repo(repository)


def test_the_repository_tells_what_a_token_may(server: GitHubServer, by: Callable[[Token | None], Api]) -> None:
    tokens = server.tokens
    granted = {
        token.login + str(token.permission): [name for name, may in by(token).get()["permissions"].items() if may]
        for token in (tokens.admin, tokens.workflow, tokens.reader)
    }
    assert list(granted.values()) == [
        ["admin", "maintain", "push", "triage", "pull"],
        ["push", "triage", "pull"],
        ["pull"],
    ]
    assert "permissions" not in by(None).get()


def test_who_may_not_push_changes_nothing(
    server: GitHubServer, repository: str, by: Callable[[Token | None], Api]
) -> None:
    writes = [
        ("POST", "/releases", {"tag_name": "v1"}),
        ("PATCH", "/git/refs/heads/main", {"sha": server.branch_head(repository)}),
        ("POST", "/git/trees", {"tree": []}),
        ("POST", "/pulls", {"title": "x", "head": "x", "base": "main"}),
        ("POST", "/issues/1/comments", {"body": "x"}),
    ]
    for method, path, body in writes:
        refused = by(server.tokens.reader).call(method, path, json=body)
        assert told(refused) == (403, "Resource not accessible by integration")
        assert refused.headers["X-Accepted-GitHub-Permissions"]
        assert told(by(None).call(method, path, json=body)) == (401, "Requires authentication")
    assert server.releases(repository) == []


def test_a_private_repository_is_not_there_for_others(server: GitHubServer) -> None:
    secret = server.create_repository("secret", {"a": "b"}, private=True)
    for token in (server.tokens.outsider, None):
        with Api(server, secret, token) as calls:
            assert told(calls.call("GET")) == (404, "Not Found")
            assert told(calls.call("POST", "/releases", json={"tag_name": "v1"})) == (404, "Not Found")
    with Api(server, secret, server.tokens.admin) as calls:
        assert calls.get()["private"] is True


def test_a_repository_that_is_missing_is_a_404(server: GitHubServer) -> None:
    with Api(server, f"{server.owner}/missing", server.tokens.admin) as calls:
        for path in ("", "/releases", "/releases/1", "/git/ref/heads/main", "/immutable-releases"):
            assert told(calls.call("GET", path)) == (404, "Not Found")


def test_who_may_nothing_makes_no_repository(server: GitHubServer) -> None:
    for token, status in ((server.tokens.reader, 403), (None, 401)):
        with Api(server, "", token) as calls:
            refused = calls.call("POST", f"{server.url}/user/repos", json={"name": "mine"})
        assert refused.status_code == status


def test_an_archived_repository_is_read_only(server: GitHubServer, repository: str, api: Api) -> None:
    draft = api.draft("v1")
    server.archive(repository)
    assert api.get()["archived"] is True
    refusal = 403, "Repository was archived so is read-only."
    assert told(api.call("POST", "/releases", json={"tag_name": "v2"})) == refusal
    assert told(api.upload(draft, "a.bin", b"bytes")) == refusal
    assert told(api.call("POST", "/pulls", json={"title": "x", "head": "x", "base": "main"})) == refusal


def test_every_answer_tells_the_rate_limit(api: Api) -> None:
    first, second = (api.call("GET", "/releases").headers for _ in range(2))
    assert int(second["X-RateLimit-Remaining"]) == int(first["X-RateLimit-Remaining"]) - 1
    assert (first["X-RateLimit-Limit"], first["X-RateLimit-Resource"]) == ("5000", "core")
    assert api.call("GET", "/releases/1").headers["X-RateLimit-Remaining"]


def test_a_personal_token_has_scopes_and_a_workflows_has_none(
    server: GitHubServer, by: Callable[[Token | None], Api]
) -> None:
    user = f"{server.url}/user"
    personal = by(server.tokens.admin)
    assert personal.call("GET", user).headers["X-OAuth-Scopes"] == "repo, workflow"
    assert personal.get(user)["login"] == server.owner
    workflow = by(server.tokens.workflow)
    assert "X-OAuth-Scopes" not in workflow.call("GET").headers
    assert told(workflow.call("GET", user)) == (403, "Resource not accessible by integration")


def test_a_release_names_the_one_who_made_it(server: GitHubServer, by: Callable[[Token | None], Api]) -> None:
    assert by(server.tokens.workflow).draft("v1")["author"]["login"] == "github-actions[bot]"


def test_a_body_that_is_no_json_is_a_400(api: Api) -> None:
    for path in ("/releases", "/git/refs", "/git/trees"):
        assert told(api.call("POST", path, data=b"{", headers={"Content-Type": "application/json"})) == (
            400,
            "Problems parsing JSON",
        )
