import pytest
from github import GithubException
from github.Repository import Repository

from ci.rehearsal.server import GitHubServer
from tests.support.calls import Api, errors_of

pytestmark = pytest.mark.integration

BRANCH = "bump/v1"


@pytest.fixture
def branch(server: GitHubServer, repository: str) -> str:
    server.commit(repository, {"docs/a.md": "B\n", "new.md": "New\n"}, branch=BRANCH, message="Bump")
    return BRANCH


def opening(**fields: object) -> dict[str, object]:
    return {"title": "Bump", "head": BRANCH, "base": "main", "body": "Why"} | fields


def test_pygithub_opens_finds_and_edits_one(client: Repository, branch: str) -> None:
    pull = client.create_pull(base="main", head=branch, title="Bump", body="Why")
    assert (pull.commits, pull.changed_files, pull.additions, pull.deletions) == (1, 2, 2, 1)
    pull.edit(title="Bump again")
    assert [found.title for found in client.get_pulls(head=f"{client.owner.login}:{branch}")] == ["Bump again"]
    pull.create_issue_comment("Said")
    pull.add_to_labels("bump")
    assert [comment.body for comment in pull.get_issue_comments()] == ["Said"]
    assert [label.name for label in client.get_pull(pull.number).labels] == ["bump"]


def test_a_second_one_for_a_branch_is_refused(api: Api, server: GitHubServer, branch: str) -> None:
    api.made("/pulls", opening())
    (error,) = errors_of(api.call("POST", "/pulls", json=opening(head=f"{server.owner}:{branch}")))
    assert error == {
        "resource": "PullRequest",
        "code": "custom",
        "message": f"A pull request already exists for {server.owner}:{branch}.",
    }


@pytest.mark.parametrize("field", ["head", "base"])
@pytest.mark.usefixtures("branch")
def test_one_of_a_branch_that_is_not_there_is_refused(
    api: Api, server: GitHubServer, repository: str, field: str
) -> None:
    (error,) = errors_of(api.call("POST", "/pulls", json=opening(**{field: "nowhere"})))
    assert error == {"resource": "PullRequest", "code": "invalid", "field": field}
    assert server.branch_head(repository, "nowhere") is None


def test_one_without_commits_is_refused(api: Api) -> None:
    head = api.get("/git/ref/heads/main")["object"]["sha"]
    api.made("/git/refs", {"ref": f"refs/heads/{BRANCH}", "sha": head})
    (error,) = errors_of(api.call("POST", "/pulls", json=opening()))
    assert error["message"] == f"No commits between main and {BRANCH}"


@pytest.mark.usefixtures("branch")
def test_its_head_follows_the_branch(api: Api, server: GitHubServer, repository: str) -> None:
    first = api.made("/pulls", opening())
    moved = server.commit(repository, {"docs/a.md": "C\n"}, branch=BRANCH)
    pull, (listed,) = api.get("/pulls/1"), api.get("/pulls")
    assert first["head"]["sha"] != moved
    assert pull["head"]["sha"] == listed["head"]["sha"] == moved
    assert (pull["commits"], pull["statuses_url"].rpartition("/")[2]) == (2, moved)


@pytest.mark.usefixtures("branch")
def test_a_list_filters_by_owner_and_branch_or_not_at_all(api: Api, server: GitHubServer) -> None:
    api.made("/pulls", opening())
    assert len(api.get(f"/pulls?head={server.owner}:{BRANCH}")) == 1
    assert api.get(f"/pulls?head={server.owner}:other") == []
    assert len(api.get("/pulls?head=other")) == 1
    assert "mergeable" not in api.get("/pulls")[0]


@pytest.mark.usefixtures("branch")
def test_a_merge_brings_the_files_to_the_base(api: Api, server: GitHubServer, repository: str) -> None:
    api.made("/pulls", opening())
    server.commit(repository, {"other.md": "Other\n"})
    server.commit(repository, {"docs/a.md": "C\n"}, branch=BRANCH)
    merged = server.merge_pull(repository, 1)
    assert server.branch_head(repository) == merged
    texts = [server.read(repository, path) for path in ("docs/a.md", "new.md", "other.md", "README.md")]
    assert texts == ["C\n", "New\n", "Other\n", "Hello\n"]
    pull = api.get("/pulls/1")
    assert (pull["state"], pull["merged"], pull["merge_commit_sha"]) == ("closed", True, merged)
    assert len(api.get(f"/git/commits/{merged}")["parents"]) == 2
    assert errors_of(api.call("PATCH", "/pulls/1", json={"state": "open"}))


def test_comments_come_in_pages_of_this_server(client: Repository, branch: str) -> None:
    pull = client.create_pull(base="main", head=branch, title="Bump", body="")
    for number in range(3):
        pull.create_issue_comment(str(number))
    client.requester.per_page = 2
    assert [comment.body for comment in pull.get_issue_comments()] == ["0", "1", "2"]


@pytest.mark.usefixtures("branch")
class TestReopening:
    @pytest.fixture(autouse=True)
    def _closed(self, api: Api, branch: str, server: GitHubServer, repository: str) -> None:
        del branch
        api.made("/pulls", opening())
        server.close_pull(repository, 1)

    def reopen(self, api: Api) -> str | None:
        """GitHub's reason to refuse."""
        response = api.call("PATCH", "/pulls/1", json={"state": "open"})
        if response.status_code == 200:
            return None
        (error,) = errors_of(response)
        assert (error["resource"], error["code"], error["field"]) == ("PullRequest", "custom", "state")
        return error["message"]

    def test_a_closed_one_can_be_reopened(self, api: Api) -> None:
        assert api.get("/pulls") == []
        assert self.reopen(api) is None
        assert api.get("/pulls/1")["state"] == "open"

    def test_also_when_its_branch_went_on(self, api: Api, server: GitHubServer, repository: str) -> None:
        closed_at = api.get("/pulls/1")["head"]["sha"]
        moved = server.commit(repository, {"docs/a.md": "C\n"}, branch=BRANCH)
        assert api.get("/pulls/1")["head"]["sha"] == closed_at
        assert self.reopen(api) is None
        assert api.get("/pulls/1")["head"]["sha"] == moved

    def test_but_not_when_its_branch_was_made_anew(self, api: Api, server: GitHubServer, repository: str) -> None:
        moved = server.commit(repository, {"docs/a.md": "C\n"}, branch="elsewhere")
        api.call("PATCH", f"/git/refs/heads/{BRANCH}", json={"sha": moved, "force": True})
        assert self.reopen(api) == f"state cannot be changed. The {BRANCH} branch was force-pushed or recreated."

    def test_nor_when_its_branch_is_gone(self, api: Api) -> None:
        api.call("DELETE", f"/git/refs/heads/{BRANCH}")
        assert self.reopen(api) == f"state cannot be changed. The {BRANCH} branch has been deleted."

    def test_nor_when_there_is_another(self, api: Api) -> None:
        assert api.made("/pulls", opening())["number"] == 2
        assert "already an open pull request" in (self.reopen(api) or "")


@pytest.mark.usefixtures("branch")
def test_deleting_its_branch_closes_it(api: Api, client: Repository) -> None:
    api.made("/pulls", opening())
    client.get_git_ref(f"heads/{BRANCH}").delete()
    assert api.get("/pulls/1")["state"] == "closed"
    with pytest.raises(GithubException) as caught:
        client.create_pull(base="main", head=BRANCH, title="Again", body="")
    assert caught.value.status == 422


def test_a_comparison_tells_the_commits_between(api: Api, server: GitHubServer, repository: str, branch: str) -> None:
    base = server.branch_head(repository)
    server.commit(repository, {"other.md": "Other\n"})
    compared = api.get(f"/compare/main...{branch}")
    assert (compared["status"], compared["ahead_by"], compared["behind_by"]) == ("diverged", 1, 1)
    assert compared["merge_base_commit"]["sha"] == base
    (commit,) = compared["commits"]
    assert (commit["commit"]["message"], commit["sha"]) == ("Bump", server.branch_head(repository, branch))
    assert [parent["sha"] for parent in commit["parents"]] == [base]
    assert commit["commit"]["tree"]["sha"] == api.get(f"/git/commits/{commit['sha']}")["tree"]["sha"]
