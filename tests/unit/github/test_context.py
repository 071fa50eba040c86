import pytest

from ci.github.context import Context, chosen_tag, run_url
from ci.host.errors import AccessError, InputError
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
    "name", ["", "image", "a/b/c", "a b/c", "../x", "fountain/..", "fountain/.", "-x/y", "a/b\n", "a/b?x=1", "ä/b"]
)
def test_what_is_no_repository_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not a repository"):
        Context.from_environment(ENVIRONMENT | {"GITHUB_REPOSITORY": name})


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
