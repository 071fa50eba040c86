from typing import Any
from unittest.mock import Mock

import pytest
from pytest_mock import MockerFixture

from ci.github.answers import GitObject, Reference, RepositoryFacts
from ci.github.client import MOST_PAGES, GitHub
from ci.github.context import Context
from ci.host.errors import RemoteError
from tests.support.quiet import quiet_reporter


def github(repository: str) -> GitHub:
    context = Context(
        api_url="https://api.github.com",
        server_url="https://github.com",
        repository=repository,
        commit=None,
        token=None,
    )
    return GitHub(context, quiet_reporter())


@pytest.mark.parametrize("name", ["fountain-coach/old-name", "former-owner/image"])
def test_a_repository_is_found_by_a_former_name_and_used_under_its_present_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    found = github(name)
    facts = RepositoryFacts(id=1, full_name="fountain-coach/image", default_branch="main")

    def read(*_: Any) -> RepositoryFacts:  # noqa: ANN401 - what is read, and how
        asked.append(found._root)
        return facts

    monkeypatch.setattr(found, "read", read)
    assert found.repository() == facts
    found.repository()
    assert asked == [f"/repos/{name}", "/repos/fountain-coach/image"]
    assert found.context.asset_url("v1", "a") == "https://github.com/fountain-coach/image/releases/download/v1/a"


def test_a_name_in_other_letters_is_no_other_name_and_is_written_as_github_does(
    monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
) -> None:
    found = github("Fountain-Coach/Image")
    facts = RepositoryFacts(id=1, full_name="fountain-coach/image", default_branch="main")
    monkeypatch.setattr(found, "read", lambda *_: facts)
    said = mocker.patch.object(found.reporter, "note")
    found.repository()
    assert found.context.repository == "fountain-coach/image"
    said.assert_not_called()


def test_a_list_that_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def next_of(_verb: str, _path: str, query: dict[str, object]) -> Mock:
        asked.append(query)
        link = f'<https://elsewhere.example/x?page={len(asked) + 1}>; rel="next"'
        return Mock(content=b"[]", response=Mock(headers={"Link": link}))

    found = github("fountain-coach/image")
    monkeypatch.setattr(found, "_request", next_of)
    with pytest.raises(RemoteError, match="the list of /releases does not end"):
        found.releases()
    assert len(asked) == MOST_PAGES


def test_a_tag_that_leads_to_itself_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = github("fountain-coach/image")
    circle = Reference(object=GitObject(type="tag", sha="1" * 40))
    monkeypatch.setattr(found, "read", lambda *_: circle)
    with pytest.raises(RemoteError, match=r"the tag v2026\.11\.23 is of a tag"):
        found.tag_commit("v2026.11.23")
