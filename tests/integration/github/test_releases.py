import pytest
from github import UnknownObjectException
from github.Repository import Repository

from ci.rehearsal.server import GitHubServer
from tests.support.calls import Api, errors_of

pytestmark = pytest.mark.integration

TAKEN = {"resource": "Release", "code": "already_exists", "field": "tag_name"}


def test_a_draft_is_published_with_pygithub(client: Repository, server: GitHubServer, repository: str) -> None:
    draft = client.create_git_release("v1", "One", "Notes", draft=True)
    assert (draft.draft, draft.immutable) == (True, False)
    assert draft.raw_data["published_at"] is None
    assert draft.html_url.rpartition("/")[2].startswith("untagged-")
    published = draft.update_release("One", "Notes", draft=False)
    assert (published.id, published.draft, published.html_url) == (
        draft.id,
        False,
        f"{server.url}/{repository}/releases/tag/v1",
    )
    assert client.get_release("v1").id == client.get_latest_release().id == draft.id


def test_a_draft_is_invisible_by_its_tag(client: Repository) -> None:
    draft = client.create_git_release("v1", "One", "", draft=True)
    with pytest.raises(UnknownObjectException):
        client.get_release("v1")
    with pytest.raises(UnknownObjectException):
        client.get_latest_release()
    assert [release.id for release in client.get_releases()] == [draft.id]


def test_only_those_who_may_push_see_drafts(server: GitHubServer, repository: str, api: Api) -> None:
    draft, published = api.draft("v2"), api.publish(api.draft("v1"))
    with Api(server, repository, server.tokens.reader) as reader, Api(server, repository, None) as anybody:
        for calls in (reader, anybody):
            assert [release["id"] for release in calls.get("/releases")] == [published["id"]]
            assert calls.call("GET", f"/releases/{draft['id']}").status_code == 404
    with Api(server, repository, server.job_token(repository, contents="write")) as workflow:
        assert len(workflow.get("/releases")) == 2


def test_several_drafts_may_have_one_tag(api: Api) -> None:
    first, second = api.draft("v1"), api.draft("v1")
    assert first["id"] != second["id"]
    api.publish(first)
    assert errors_of(api.edit(second, draft=False)) == [TAKEN]
    assert api.get(f"/releases/{second['id']}")["draft"] is True


def test_a_published_tag_is_not_published_again(api: Api) -> None:
    api.publish(api.draft("v1"))
    assert errors_of(api.call("POST", "/releases", json={"tag_name": "v1"})) == [TAKEN]


def test_publishing_makes_the_tag_where_the_release_is_to_be(server: GitHubServer, repository: str, api: Api) -> None:
    first = server.branch_head(repository)
    second = server.commit(repository, {"b.md": "B\n"})
    draft = api.draft("v1", target_commitish=first)
    assert server.tag_commit(repository, "v1") is None
    api.publish(draft)
    api.publish(api.draft("v2"))
    assert (server.tag_commit(repository, "v1"), server.tag_commit(repository, "v2")) == (first, second)


def test_a_tag_that_is_there_stays_where_it_is(server: GitHubServer, repository: str, api: Api) -> None:
    tagged = server.branch_head(repository)
    api.made("/git/refs", {"ref": "refs/tags/v1", "sha": tagged})
    author = {"name": "A", "email": "a@example.com", "date": "2030-01-01T00:00:00Z"}
    server.commit(repository, {"b.md": "B\n"}, author=author)
    assert api.publish(api.draft("v1"))["created_at"] != author["date"]
    assert server.tag_commit(repository, "v1") == tagged


def test_a_release_needs_a_tag_and_a_commit(api: Api) -> None:
    assert errors_of(api.call("POST", "/releases", json={"name": "x"}))[0]["code"] == "missing_field"
    nowhere = {"tag_name": "v1", "target_commitish": "0" * 40}
    assert errors_of(api.call("POST", "/releases", json=nowhere)) == [
        {"resource": "Release", "code": "invalid", "field": "target_commitish"}
    ]


def test_the_latest_release_is_the_one_that_was_made_so(api: Api) -> None:
    newer = api.publish(api.draft("v2"))
    api.publish(api.draft("v1"), make_latest="false")
    assert api.get("/releases/latest")["id"] == newer["id"]
    api.publish(api.draft("v4", prerelease=True))
    assert api.get("/releases/latest")["id"] == newer["id"]
    last = api.publish(api.draft("v3"), make_latest="true")
    assert api.get("/releases/latest")["id"] == last["id"]


def test_where_none_was_made_the_latest_it_is_that_of_the_newest_commit(
    server: GitHubServer, repository: str, api: Api
) -> None:
    old = server.branch_head(repository)
    author = {"name": "A", "email": "a@example.com", "date": "2030-01-01T00:00:00Z"}
    server.commit(repository, {"b.md": "B\n"}, author=author)
    newest = api.publish(api.draft("v2"), make_latest="legacy")
    api.publish(api.draft("v1", target_commitish=old), make_latest="legacy")
    assert newest["created_at"] == author["date"]
    assert api.get("/releases/latest")["id"] == newest["id"]


def test_notes_can_be_edited_after_publication_and_the_rest_stays(api: Api) -> None:
    published = api.publish(api.draft("v1", name="One", body="Old"))
    edited = api.edit(published, body="New").json()
    assert (edited["body"], edited["name"], edited["draft"]) == ("New", "One", False)
    assert edited["published_at"] == published["published_at"]


def test_deleting_a_release_keeps_its_tag(server: GitHubServer, repository: str, api: Api) -> None:
    published = api.publish(api.draft("v1"))
    assert api.call("DELETE", f"/releases/{published['id']}").status_code == 204
    assert api.call("GET", "/releases/tags/v1").status_code == 404
    assert server.tag_commit(repository, "v1") == server.branch_head(repository)


def test_a_list_comes_in_pages(client: Repository, api: Api) -> None:
    made = [api.draft(f"v{number}")["id"] for number in range(5)]
    response = api.call("GET", "/releases?per_page=2&page=2")
    assert [release["id"] for release in response.json()] == made[::-1][2:4]
    assert {name: link["url"].partition("page=2&")[2] for name, link in response.links.items()} == {
        "prev": "page=1",
        "next": "page=3",
        "last": "page=3",
        "first": "page=1",
    }
    client.requester.per_page = 2
    assert [release.id for release in client.get_releases()] == made[::-1]


class TestImmutableReleases:
    @pytest.fixture(autouse=True)
    def _immutable(self, server: GitHubServer, repository: str) -> None:
        server.set_immutable_releases(repository, enabled=True)

    def test_a_publication_freezes_the_assets(self, api: Api) -> None:
        draft = api.draft("v1")
        asset = api.uploaded(draft, "a.bin", b"bytes")
        assert draft["immutable"] is False
        published = api.publish(draft)
        assert published["immutable"] is True
        refused = api.upload(published, "b.bin", b"bytes")
        assert refused.status_code == 422
        # The body as recorded in https://github.com/concourse/github-release-resource/issues/151
        assert refused.json() == {
            "message": "Cannot upload assets to an immutable release.",
            "request_id": refused.json()["request_id"],
            "documentation_url": "https://docs.github.com/rest",
        }
        assert api.call("DELETE", f"/releases/assets/{asset['id']}").status_code == 422

    def test_notes_can_be_edited_but_it_is_no_draft_again(self, api: Api) -> None:
        published = api.publish(api.draft("v1", body="Old"))
        assert api.edit(published, body="New", name="Neu").json()["body"] == "New"
        assert errors_of(api.edit(published, draft=True))[0]["message"] == (
            "state cannot be changed when release is immutable"
        )
        assert api.edit(published, tag_name="v2").status_code == 422

    def test_its_tag_neither_moves_nor_goes(self, server: GitHubServer, repository: str, api: Api) -> None:
        api.publish(api.draft("v1"))
        tagged = server.tag_commit(repository, "v1")
        moved = server.commit(repository, {"b.md": "B\n"})
        assert api.call("PATCH", "/git/refs/tags/v1", json={"sha": moved, "force": True}).status_code == 422
        assert api.call("DELETE", "/git/refs/tags/v1").status_code == 422
        assert server.tag_commit(repository, "v1") == tagged

    def test_deleting_it_burns_the_tag(self, api: Api) -> None:
        published = api.publish(api.draft("v1"))
        api.call("DELETE", f"/releases/{published['id']}")
        api.call("DELETE", "/git/refs/tags/v1")
        again = api.draft("v1")
        api.uploaded(again, "a.bin", b"bytes")
        # As in https://github.com/github-community-projects/ospo-reusable-workflows/issues/83
        assert [error.get("message", "").partition("\n")[0] for error in errors_of(api.edit(again, draft=False))] == [
            "pre_receive Repository rule violations found",
            "tag_name was used by an immutable release",
            "Published releases must have a valid tag",
        ]
        head = api.get("/git/ref/heads/main")["object"]["sha"]
        assert api.call("POST", "/git/refs", json={"ref": "refs/tags/v1", "sha": head}).status_code == 422

    def test_the_setting_is_there_for_admins_only(self, server: GitHubServer, repository: str, api: Api) -> None:
        assert api.get("/immutable-releases") == {"enabled": True, "enforced_by_owner": False}
        with Api(server, repository, server.job_token(repository, contents="write")) as workflow:
            assert workflow.call("GET", "/immutable-releases").status_code == 403
        server.set_immutable_releases(repository, enabled=False)
        assert api.call("GET", "/immutable-releases").status_code == 404
        assert api.publish(api.draft("v1"))["immutable"] is False
