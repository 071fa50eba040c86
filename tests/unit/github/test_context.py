import re
from collections.abc import Callable
from unittest.mock import Mock

import pytest
from pytest_mock import MockerFixture

from ci.github import context as contexts
from ci.github.context import GH_LOGIN, Context, chosen_tag, run_url
from ci.host.errors import AccessError, HostError, InputError, ToolError, ToolsmithError
from ci.host.process import Completed
from ci.host.secrets import masked
from ci.records.version import Version

ENVIRONMENT = {"GITHUB_REPOSITORY": "fountain/image", "GITHUB_TOKEN": "a-token-of-a-test"}


def test_the_defaults_are_those_of_github() -> None:
    context = Context.from_environment(ENVIRONMENT)
    assert (context.api_url, context.server_url) == ("https://api.github.com", "https://github.com")
    assert context.asset_url("v2026.11.23", "a.qcow2") == (
        "https://github.com/fountain/image/releases/download/v2026.11.23/a.qcow2"
    )


def test_a_flag_goes_before_the_variable() -> None:
    assert Context.from_environment(ENVIRONMENT, repository="other/image").repository == "other/image"


@pytest.mark.parametrize(
    "name", ["image", "a/b/c", "a b/c", "../x", "fountain/..", "fountain/.", "-x/y", "a/b\n", "a/b?x=1", "ä/b"]
)
def test_what_is_no_repository_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not a repository"):
        Context.from_environment(ENVIRONMENT | {"GITHUB_REPOSITORY": name})


REMOTES = {
    "https://github.com/fountain/image.git": "fountain/image",
    "https://x-access-token:secret@GitHub.com/fountain/image": "fountain/image",
    "git@github.com:fountain/image.git": "fountain/image",
    "ssh://git@github.com/fountain/image": "fountain/image",
    "ssh://git@ssh.github.com:443/fountain/im.age.git": "fountain/im.age",
    "git@github.com:fountain/image/": "fountain/image",
    "git@github.com:/fountain/image.git": "fountain/image",
    "github.com:fountain/image.git": "fountain/image",
    "https://github.com:443/fountain/image.git/": "fountain/image",
    "HTTPS://GitHub.com/fountain/image.git": "fountain/image",
}


@pytest.fixture
def said(mocker: MockerFixture) -> Callable[[str | ToolsmithError], Mock]:
    """Has the next program say something, or fail."""

    def say(output: str | ToolsmithError) -> Mock:
        done = Completed(argv=(), returncode=0, stdout=f"{output}\n", stderr="", seconds=0)
        return mocker.patch.object(contexts, "run", side_effect=[done if isinstance(output, str) else output])

    return say


@pytest.mark.parametrize("url", REMOTES)
def test_by_hand_the_repository_is_that_of_the_clone(said: Callable[[str], Mock], url: str) -> None:
    said(url)
    assert Context.from_environment({"GITHUB_TOKEN": "a-token-of-a-test"}).repository == REMOTES[url]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("https://git.example/fountain/image", "is at git.example, not at github.com"),
        ("https://user:secret@github.com.evil.example/o/r", "is at github.com.evil.example, not at"),
        ("/srv/mirror.git", "is no address of a server"),
        ("https://github.com/image", "is no address of a server"),
        ("git.example:fountain/image", "is at git.example, not at github.com"),
        (
            ToolError("it failed", details="fatal: dubious ownership"),
            "no remote `origin` here: fatal: dubious ownership",
        ),
        (HostError("no git"), "no remote `origin` here: no git"),
    ],
)
def test_a_clone_that_names_no_repository_is_an_error_that_says_so(
    said: Callable[[str | ToolsmithError], Mock], output: str | ToolsmithError, words: str
) -> None:
    said(output)
    with pytest.raises(InputError, match=re.escape(words)) as failure:
        Context.from_environment({"GITHUB_TOKEN": "a-token-of-a-test"})
    assert "GITHUB_REPOSITORY" in failure.value.hint
    assert "secret" not in failure.value.message


def test_in_actions_no_clone_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    with pytest.raises(InputError, match="no repository is named"):
        Context.from_environment({"GITHUB_TOKEN": "a-token-of-a-test"})


def test_gh_is_asked_for_its_token_only_where_that_is_asked_for(said: Callable[[str], Mock]) -> None:
    asked = said("gho_of_a_person")
    environ = {"GITHUB_REPOSITORY": "fountain/image", "GITHUB_SERVER_URL": "https://git.example"}
    with pytest.raises(AccessError, match="no token in GITHUB_TOKEN"):
        Context.from_environment(environ)
    asked.assert_not_called()
    assert Context.from_environment(environ | {GH_LOGIN: "1"}).token == "gho_of_a_person"  # noqa: S105
    assert asked.call_args.args[0] == ["gh", "auth", "token", "--hostname", "git.example"]
    assert masked("gho_of_a_person") == "***"


def test_a_gh_without_a_login_is_an_error_that_names_it(said: Callable[[ToolsmithError], Mock]) -> None:
    said(ToolError("gh failed", details="no oauth token found for github.com"))
    with pytest.raises(AccessError, match=r"gh has no token for github\.com: no oauth"):
        Context.from_environment({"GITHUB_REPOSITORY": "fountain/image", GH_LOGIN: "1"})


def test_what_gh_is_logged_in_as_does_not_replace_a_token_of_another_name(said: Callable[[str], Mock]) -> None:
    asked = said("gho_of_a_person")
    environ = {"GITHUB_REPOSITORY": "o/r", "GH_TOKEN": "ghs_of_another", GH_LOGIN: "1"}
    with pytest.raises(AccessError, match="no token in OTHER_TOKEN"):
        Context.from_environment(environ, token_variable="OTHER_TOKEN")  # noqa: S106 - a name
    asked.assert_not_called()


@pytest.mark.parametrize("token", ["", "  "])
def test_a_missing_token_is_named(token: str) -> None:
    with pytest.raises(AccessError, match="GITHUB_TOKEN"):
        Context.from_environment(ENVIRONMENT | {"GITHUB_TOKEN": token})


def test_a_token_is_masked_once_it_was_read_and_never_shown() -> None:
    context = Context.from_environment(ENVIRONMENT | {"GITHUB_TOKEN": "ghs_0123456789abcdef"})
    assert "ghs_0123456789abcdef" not in repr(context)
    assert masked("Authorization: token ghs_0123456789abcdef!") == "Authorization: token ***!"


@pytest.mark.parametrize("commit", ["main", "0" * 39, "A" * 40])
def test_a_commit_that_is_none_is_refused(commit: str) -> None:
    with pytest.raises(InputError, match="not a commit"):
        Context.from_environment(ENVIRONMENT | {"GITHUB_SHA": commit})


def test_the_tag_is_the_flag_or_the_one_that_was_pushed() -> None:
    pushed = {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v2026.11.23"}
    assert chosen_tag("v2026.11.24.1", pushed) == Version.parse("v2026.11.24.1")
    assert chosen_tag(None, pushed) == Version.parse("v2026.11.23")
    assert chosen_tag(None, {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "v2026.11.23"}) is None


@pytest.mark.parametrize("tag", ["v2026.02.30", "v2026.11.23-rc1", "$(id)", "", "v2026.11.23\n"])
def test_a_pushed_tag_that_is_no_version_is_refused(tag: str) -> None:
    with pytest.raises(InputError, match="is not a version"):
        chosen_tag(None, {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": tag})


def test_the_run_has_a_page_in_actions_only() -> None:
    run = {"GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "fountain/image", "GITHUB_SERVER_URL": "https://github.com"}
    assert run_url(run) == "https://github.com/fountain/image/actions/runs/7"
    assert run_url({}) is None
