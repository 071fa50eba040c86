import pytest

from ci.fetch.github_access import access_from, require_safe_url
from ci.host.errors import InputError
from ci.host.secrets import masked


@pytest.mark.parametrize(
    ("environ", "server", "api"),
    [
        ({}, "https://github.com", "https://api.github.com"),
        ({"GITHUB_SERVER_URL": "", "GITHUB_API_URL": ""}, "https://github.com", "https://api.github.com"),
        ({"GITHUB_SERVER_URL": "https://git.example/"}, "https://git.example", "https://git.example/api/v3"),
        ({"GITHUB_API_URL": "https://api.example/"}, "https://github.com", "https://api.example"),
    ],
)
def test_the_api_is_that_of_the_server_where_nothing_else_is_said(
    environ: dict[str, str], server: str, api: str
) -> None:
    access = access_from(environ)
    assert (access.server_url, access.api_url, access.token) == (server, api, None)


def test_the_token_is_that_of_the_variable_and_is_masked() -> None:
    environ = {"GITHUB_TOKEN": "ghs_of_the_workflow", "APP_TOKEN": "ghs_of_the_app"}
    access = access_from(environ, "APP_TOKEN")
    assert access.token == "ghs_of_the_app"  # noqa: S105 - no real one
    assert "ghs_of" not in repr(access)
    assert masked("as ghs_of_the_app") == "as ***"


@pytest.mark.parametrize("variable", ["GITHUB_SERVER_URL", "GITHUB_API_URL"])
def test_a_github_that_no_token_may_be_sent_to_is_refused_by_its_variable(variable: str) -> None:
    with pytest.raises(InputError, match=variable):
        access_from({variable: "http://github.example"})


@pytest.mark.parametrize(
    "url",
    [
        "http://github.example",
        "http://localhost.example",
        "ftp://localhost",
        "https://",
        "https://user:x@github.com",
        "//github.com",
        "https://[",
        "file:///etc/passwd",
    ],
)
def test_a_token_is_not_sent_in_the_clear_or_to_what_is_no_server(url: str) -> None:
    with pytest.raises(InputError, match="no token may be sent"):
        require_safe_url(url, "GITHUB_API_URL")


@pytest.mark.parametrize("url", ["https://github.example/api/v3", "http://localhost:4010", "http://127.0.0.1:1"])
def test_servers_of_this_machine_and_by_https_are_fine(url: str) -> None:
    require_safe_url(url, "GITHUB_API_URL")
