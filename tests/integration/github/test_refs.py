import pytest
import requests
from github import GithubException, InputGitTreeElement
from github.Repository import Repository

from ci.rehearsal.server import GitHubServer
from tests.support.calls import Api

pytestmark = pytest.mark.integration


def message(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["message"]


def test_one_commit_changes_several_files_and_keeps_the_others(
    client: Repository, server: GitHubServer, repository: str
) -> None:
    main = client.get_git_ref("heads/main")
    parent = client.get_git_commit(main.object.sha)
    entries = [InputGitTreeElement(path, "100644", "blob", "New\n") for path in ("docs/a.md", "releases/v1.md")]
    tree = client.create_git_tree(entries, parent.tree)
    commit = client.create_git_commit("Bump", tree, [parent])
    made = client.create_git_ref("refs/heads/bump/v1", commit.sha)
    assert made.url.endswith("/git/refs/heads/bump/v1")
    assert server.branch_head(repository, "bump/v1") == commit.sha
    texts = [server.read(repository, path, ref="bump/v1") for path in ("docs/a.md", "releases/v1.md", "README.md")]
    assert texts == ["New\n", "New\n", "Hello\n"]
    made.edit(commit.sha)
    made.delete()
    assert server.branch_head(repository, "bump/v1") is None


def test_a_branch_moves_forward_only_unless_forced(api: Api, server: GitHubServer, repository: str) -> None:
    mine = server.commit(repository, {"a.md": "Mine\n"}, branch="mine")
    theirs = server.commit(repository, {"a.md": "Theirs\n"})
    change = {"sha": mine, "force": False}
    assert message(api.call("PATCH", "/git/refs/heads/main", json=change)) == (422, "Update is not a fast forward")
    assert server.branch_head(repository) == theirs
    assert api.call("PATCH", "/git/refs/heads/main", json={"sha": mine, "force": True}).status_code == 200
    assert server.branch_head(repository) == mine


def test_pygithub_edits_a_reference_by_the_documented_path(
    client: Repository, server: GitHubServer, repository: str
) -> None:
    reference = client.get_git_ref("heads/main")
    moved = server.commit(repository, {"a.md": "A\n"}, branch="ahead")
    reference.edit(moved)
    assert server.branch_head(repository) == moved
    assert server.exchanges[-1].path.endswith("/git/refs/heads/main")


def test_a_reference_is_made_once_and_for_a_commit_that_is_there(
    api: Api, client: Repository, server: GitHubServer, repository: str
) -> None:
    head = server.branch_head(repository)
    again = {"ref": "refs/heads/main", "sha": head}
    assert message(api.call("POST", "/git/refs", json=again)) == (422, "Reference already exists")
    nowhere = {"ref": "refs/heads/new", "sha": "1" * 40}
    assert message(api.call("POST", "/git/refs", json=nowhere)) == (422, "Object does not exist")
    with pytest.raises(GithubException) as caught:
        client.get_git_ref("heads/new")
    assert caught.value.status == 404


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_what_is_not_there_is_neither_moved_nor_deleted(api: Api, method: str) -> None:
    head = api.get("/git/ref/heads/main")["object"]["sha"]
    body = {"sha": head} if method == "PATCH" else None
    assert message(api.call(method, "/git/refs/heads/nowhere", json=body)) == (422, "Reference does not exist")


def test_files_are_read_at_a_branch_a_tag_and_a_commit(
    client: Repository, api: Api, server: GitHubServer, repository: str
) -> None:
    head = server.branch_head(repository)
    api.publish(api.draft("v1"))
    for ref in ("main", "v1", head or ""):
        found = client.get_contents("docs/a.md", ref=ref)
        assert not isinstance(found, list)
        assert found.decoded_content == b"A\n"


def test_a_person_commits_under_their_own_name(api: Api, server: GitHubServer, repository: str) -> None:
    person = {"name": "A Person", "email": "person@example.com"}
    sha = server.commit(repository, {"README.md": None}, message="Mine", author=person)
    commit = api.get(f"/git/commits/{sha}")
    assert (commit["message"], commit["author"]["email"]) == ("Mine", person["email"])
    assert server.read(repository, "README.md") is None
