from typing import Any

import pytest

from ci.github.answers import RepositoryFacts
from ci.github.client import GitHub
from ci.github.context import Context
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


def test_a_name_in_other_letters_is_no_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = github("Fountain-Coach/Image")
    facts = RepositoryFacts(id=1, full_name="fountain-coach/image", default_branch="main")
    monkeypatch.setattr(found, "read", lambda *_: facts)
    found.repository()
    assert found.context.repository == "Fountain-Coach/Image"
