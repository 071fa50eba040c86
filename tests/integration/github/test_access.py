from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from github import Auth, BadCredentialsException, Github

from ci.rehearsal.server import GitHubServer
from ci.rehearsal.tokens import READS, WRITES, Kind, Token
from tests.support.calls import Api

pytestmark = pytest.mark.integration

By = Callable[[Token | None], Api]
WORKFLOW = ".github/workflows/release.yml"
OF_APPS, OF_PERSONS = (f"Resource not accessible by {kind}" for kind in ("integration", "personal access token"))


@pytest.fixture
def by(server: GitHubServer, repository: str) -> Iterator[By]:
    """Calls in the name of a token."""
    with ExitStack() as stack:
        yield lambda token: stack.enter_context(Api(server, repository, token))


@pytest.fixture
def job(server: GitHubServer, repository: str) -> Token:
    """The GITHUB_TOKEN of a job that may write."""
    return server.job_token(repository, **WRITES)


def told(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["message"]


def accepted(response: requests.Response) -> str | None:
    return response.headers.get("X-Accepted-GitHub-Permissions")


@pytest.mark.parametrize("path", ["", "/releases", "/git/ref/heads/main"])
def test_an_expired_or_unknown_token_is_refused_everywhere(server: GitHubServer, by: By, path: str) -> None:
    unknown = Token(secret="guessed", login="x", kind=Kind.CLASSIC)  # noqa: S106
    for token in (server.tokens.expired, unknown):
        assert told(by(token).call("GET", path)) == (401, "Bad credentials")


def test_a_token_expires_between_two_calls(server: GitHubServer, by: By, job: Token) -> None:
    calls = by(job)
    calls.draft("v1")
    server.expire(job)
    assert told(calls.call("GET", "/releases")) == (401, "Bad credentials")


def test_pygithub_sees_a_bad_token_as_its_exception(server: GitHubServer, repository: str) -> None:
    with (
        Github(base_url=server.url, auth=Auth.Token(server.tokens.expired.secret), retry=None) as github,
        pytest.raises(BadCredentialsException),
    ):
        github.get_repo(repository)


def test_the_repository_tells_what_a_user_may_and_nothing_of_the_token(
    server: GitHubServer, by: By, job: Token
) -> None:
    def told(token: Token | None) -> list[str] | None:
        found = by(token).get().get("permissions")
        return None if found is None else [name for name, may in found.items() if may]

    tokens = server.tokens
    everything = ["admin", "maintain", "push", "triage", "pull"]
    assert told(tokens.admin) == told(tokens.scopeless) == told(tokens.reader) == everything
    assert told(tokens.outsider) == ["pull"]
    assert told(job) == []
    assert told(tokens.app) is told(None) is None


def writes(head: str | None) -> list[tuple[str, str, Any, str]]:
    return [
        ("POST", "/releases", {"tag_name": "v1"}, "contents=write; contents=write,workflows=write"),
        ("PATCH", "/git/refs/heads/main", {"sha": head}, "contents=write; contents=write,workflows=write"),
        ("POST", "/git/trees", {"tree": []}, "contents=write; contents=write,workflows=write"),
        ("POST", "/git/blobs", {"content": ""}, "contents=write"),
        ("POST", "/pulls", {"title": "x", "head": "x", "base": "main"}, "pull_requests=write"),
        ("POST", "/issues/1/comments", {"body": "x"}, "issues=write; pull_requests=write"),
    ]


def test_who_may_not_push_changes_nothing_and_is_told_so_as_their_token_is(
    server: GitHubServer, repository: str, by: By
) -> None:
    fork = server.job_token(repository, **READS)
    elsewhere = server.app_token(server.create_repository(f"other-than-{repository[-4:]}", {"a": "b"}), **WRITES)
    for method, path, body, permissions in writes(server.branch_head(repository)):
        for token, words in ((server.tokens.reader, OF_PERSONS), (fork, OF_APPS), (elsewhere, OF_APPS)):
            refused = by(token).call(method, path, json=body)
            assert (told(refused), accepted(refused)) == ((403, words), permissions)
        for token in (server.tokens.outsider, server.tokens.scopeless):
            refused = by(token).call(method, path, json=body)
            assert told(refused) == (404, "Not Found")
            assert refused.headers["X-OAuth-Scopes"] == token.scopes
        assert told(by(None).call(method, path, json=body)) == (401, "Requires authentication")
    assert server.releases(repository) == []


def test_each_kind_of_call_takes_its_own_permission(server: GitHubServer, repository: str, by: By) -> None:
    only = by(server.job_token(repository, pull_requests="write"))
    assert told(only.call("GET", "/releases")) == (403, OF_APPS)
    assert only.get("/pulls") == []
    assert told(by(server.job_token(repository, contents="write")).call("GET", "/pulls")) == (403, OF_APPS)
    for token in (server.tokens.fine_grained, server.tokens.app):
        refused = by(token).call("GET", "/immutable-releases")
        assert (refused.status_code, accepted(refused)) == (403, "administration=read")
    assert told(by(None).call("GET", "/immutable-releases")) == (401, "Requires authentication")


def test_a_jobs_token_opens_pull_requests_only_where_the_setting_allows_it(
    server: GitHubServer, repository: str, by: By, job: Token
) -> None:
    server.commit(repository, {"a.md": "A\n"}, branch="mine")
    pull = {"title": "x", "head": "mine", "base": "main"}
    words = "GitHub Actions is not permitted to create or approve pull requests."
    assert told(by(job).call("POST", "/pulls", json=pull)) == (403, words)
    server.allow_pulls_of_actions(repository)
    assert by(job).made("/pulls", pull)["state"] == "open"


def bringing_a_workflow(api: Api, server: GitHubServer, repository: str) -> Iterator[requests.Response]:
    """The calls that would bring the workflows of a commit that are no longer those of the default branch."""
    before = server.branch_head(repository)
    server.commit(repository, {WORKFLOW: "on: push\n"})
    tree = api.get(f"/git/commits/{before}")["tree"]["sha"]
    yield api.call("POST", "/releases", json={"tag_name": "v1", "target_commitish": before, "draft": True})
    yield api.call("POST", "/git/refs", json={"ref": "refs/heads/old", "sha": before})
    yield api.call("PATCH", "/git/refs/heads/main", json={"sha": before, "force": True})
    entry = {"path": WORKFLOW, "mode": "100644", "type": "blob", "content": "on: pull_request\n"}
    yield api.call("POST", "/git/trees", json={"base_tree": tree, "tree": [entry]})
    yield api.call("POST", "/git/commits", json={"message": "x", "tree": tree, "parents": [before]})


def test_another_workflow_than_the_default_branchs_takes_a_permission_that_no_job_has(
    server: GitHubServer, repository: str, by: By, job: Token
) -> None:
    for refused in bringing_a_workflow(by(job), server, repository):
        assert (told(refused), accepted(refused)) == ((403, OF_APPS), "contents=write; contents=write,workflows=write")
    assert by(job).draft("v1")["target_commitish"] == "main"


def test_a_draft_that_is_of_an_older_workflow_by_now_is_not_published_by_a_job(
    server: GitHubServer, repository: str, by: By, job: Token
) -> None:
    draft = by(job).draft("v1", target_commitish=server.branch_head(repository))
    server.commit(repository, {WORKFLOW: "on: push\n"})
    assert told(by(job).edit(draft, draft=False)) == (403, OF_APPS)


def test_a_token_for_workflows_may_bring_them(server: GitHubServer, repository: str, by: By) -> None:
    app = server.app_token(repository, workflows="write", **WRITES)
    assert all(done.ok for done in bringing_a_workflow(by(app), server, repository))


def test_a_classic_token_takes_the_scope_for_workflows(server: GitHubServer, repository: str, by: By) -> None:
    assert all(done.ok for done in bringing_a_workflow(by(server.tokens.admin), server, repository))


def test_a_private_repository_is_not_there_for_others(server: GitHubServer, job: Token) -> None:
    secret = server.create_repository("secret", {"a": "b"}, private=True)
    for token in (server.tokens.outsider, server.tokens.scopeless, job, None):
        with Api(server, secret, token) as calls:
            assert told(calls.call("GET")) == (404, "Not Found")
            assert told(calls.call("POST", "/releases", json={"tag_name": "v1"})) == (404, "Not Found")
    for token in (server.tokens.admin, server.tokens.fine_grained, server.tokens.app):
        with Api(server, secret, token) as calls:
            assert calls.get()["private"] is True


def test_a_repository_that_is_missing_is_a_404(server: GitHubServer) -> None:
    with Api(server, f"{server.owner}/missing", server.tokens.admin) as calls:
        for path in ("", "/releases", "/releases/1", "/git/ref/heads/main", "/immutable-releases"):
            assert told(calls.call("GET", path)) == (404, "Not Found")


def test_a_repository_keeps_its_id_and_its_old_name_leads_there(server: GitHubServer, repository: str) -> None:
    with Api(server, repository, server.tokens.admin) as old:
        number = old.get()["id"]
        published = old.publish(old.draft("v1"))
        asset = old.uploaded(published, "a.bin", b"bytes")
        renamed = server.rename(repository, f"{repository.partition('/')[2]}-renamed")
        there = f"{server.url}/repositories/{number}"
        moved = old.call("GET", "/releases", params={"per_page": 1}, allow_redirects=False)
        assert (moved.status_code, moved.headers["Location"]) == (301, f"{there}/releases?per_page=1")
        assert moved.json()["message"] == "Moved Permanently"
        assert old.call("POST", "/git/refs", json={}, allow_redirects=False).status_code == 307
        assert old.get()["full_name"] == renamed
        assert [release["html_url"] for release in old.get("/releases")] == [f"{server.url}/{renamed}/releases/tag/v1"]
        assert old.get("/git/ref/heads/main")["object"]["sha"] == server.branch_head(renamed)
        page = old.call("GET", asset["browser_download_url"], allow_redirects=False)
        assert page.headers["Location"] == f"/{renamed}/releases/download/v1/a.bin"
        assert old.call("GET", asset["browser_download_url"]).content == b"bytes"


def test_who_may_nothing_makes_no_repository(server: GitHubServer) -> None:
    for token, status in ((server.tokens.reader, 403), (None, 401)):
        with Api(server, "", token) as calls:
            refused = calls.call("POST", f"{server.url}/user/repos", json={"name": "mine"})
        assert refused.status_code == status


def test_an_archived_repository_is_read_only(server: GitHubServer, repository: str, api: Api) -> None:
    draft = api.draft("v1")
    server.change(repository, archived=True)
    assert api.get()["archived"] is True
    refusal = 403, "Repository was archived so is read-only."
    assert told(api.call("POST", "/releases", json={"tag_name": "v2"})) == refusal
    assert told(api.upload(draft, "a.bin", b"bytes")) == refusal
    assert told(api.call("POST", "/pulls", json={"title": "x", "head": "x", "base": "main"})) == refusal


def test_every_answer_tells_the_rate_limit(by: By, api: Api, job: Token) -> None:
    first, second = (api.call("GET", "/releases").headers for _ in range(2))
    assert int(second["X-RateLimit-Remaining"]) == int(first["X-RateLimit-Remaining"]) - 1
    assert (first["X-RateLimit-Limit"], first["X-RateLimit-Resource"]) == ("5000", "core")
    assert api.call("GET", "/releases/1").headers["X-RateLimit-Remaining"]
    assert by(job).call("GET").headers["X-RateLimit-Limit"] == "1000"


def test_without_a_token_the_limit_is_soon_reached(tmp_path: Path) -> None:
    with (
        GitHubServer.start(tmp_path) as server,
        Api(server, server.create_repository("a", {"a": "b"}), None) as anybody,
    ):
        answers = [anybody.call("GET") for _ in range(61)]
    assert [answer.status_code for answer in answers[:-1]] == [200] * 60
    assert answers[-1].headers["X-RateLimit-Remaining"] == "0"
    assert told(answers[-1]) == (403, "API rate limit exceeded for 127.0.0.1.")


def test_a_personal_token_is_a_users_and_an_installations_is_nobodys(server: GitHubServer, by: By, job: Token) -> None:
    user = f"{server.url}/user"
    personal = by(server.tokens.admin)
    assert personal.call("GET", user).headers["X-OAuth-Scopes"] == "repo, workflow"
    assert personal.get(user)["login"] == server.owner
    assert by(server.tokens.fine_grained).get(user)["login"] == server.owner
    for token in (job, server.tokens.app):
        assert "X-OAuth-Scopes" not in by(token).call("GET").headers
        assert told(by(token).call("GET", user)) == (403, OF_APPS)


def test_a_release_names_the_one_who_made_it(by: By, job: Token) -> None:
    assert by(job).draft("v1")["author"]["login"] == "github-actions[bot]"


def test_a_body_that_is_no_json_is_a_400(api: Api) -> None:
    for path in ("/releases", "/git/refs", "/git/trees"):
        assert told(api.call("POST", path, data=b"{", headers={"Content-Type": "application/json"})) == (
            400,
            "Problems parsing JSON",
        )


def test_pages_may_be_shorter_than_asked_for(server: GitHubServer, repository: str, api: Api) -> None:
    for number in range(3):
        api.draft(f"v{number}")
        server.commit(repository, {f"{number}.md": "x\n"}, branch=f"b{number}")
        api.made("/pulls", {"title": "x", "head": f"b{number}", "base": "main"})
    server.quirks.longest_page = 2
    try:
        for path in ("/releases", "/pulls"):
            page = api.call("GET", path, params={"per_page": 100})
            assert len(page.json()) == 2
            assert len(api.session.get(page.links["next"]["url"], timeout=60).json()) == 1
    finally:
        server.quirks.longest_page = 100


def test_an_older_enterprise_server_tells_no_digests(tmp_path: Path) -> None:
    with GitHubServer.start(tmp_path) as server:
        server.quirks.digests = False
        with Api(server, server.create_repository("a", {"a": "b"}), server.tokens.app) as api:
            assert "digest" not in api.uploaded(api.draft("v1"), "a.bin", b"bytes")
