import pytest

from ci.fetch.github_access import access_from, require_safe_url
from ci.host.errors import InputError, RemoteError
from ci.host.secrets import masked


def both(server: str, api: str) -> dict[str, str]:
    return {"GITHUB_SERVER_URL": server, "GITHUB_API_URL": api}


@pytest.mark.parametrize(
    ("environ", "server", "api"),
    [
        ({}, "https://github.com", "https://api.github.com"),
        ({"GITHUB_SERVER_URL": "", "GITHUB_API_URL": ""}, "https://github.com", "https://api.github.com"),
        ({"GITHUB_SERVER_URL": "https://git.example/"}, "https://git.example", "https://git.example/api/v3"),
        ({"GITHUB_SERVER_URL": "https://Fountain.GHE.com"}, "https://fountain.ghe.com", "https://api.fountain.ghe.com"),
        ({"GITHUB_API_URL": "https://api.github.com/"}, "https://github.com", "https://api.github.com"),
        ({"GITHUB_API_URL": "https://git.example/api/v3"}, "https://git.example", "https://git.example/api/v3"),
        (
            {"GITHUB_API_URL": "https://api.fountain.ghe.com"},
            "https://fountain.ghe.com",
            "https://api.fountain.ghe.com",
        ),
        (
            both("https://git.example", "https://git.example/api/v3"),
            "https://git.example",
            "https://git.example/api/v3",
        ),
        (both("http://localhost:1", "http://localhost:1"), "http://localhost:1", "http://localhost:1"),
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


@pytest.mark.parametrize(
    "environ",
    [
        {"GITHUB_API_URL": "https://api.example"},
        {"GITHUB_API_URL": "http://localhost:4010"},
        {"GITHUB_API_URL": "https://github.com"},
        {"GITHUB_SERVER_URL": "https://github.com/fountain/image"},
        {"GITHUB_SERVER_URL": "https://api.github.com"},
        {"GITHUB_SERVER_URL": "https://api.fountain.ghe.com"},
        both("https://github.com", "https://git.example/api/v3"),
        both("https://github.com", "https://github.com/api/v3"),
        both("https://git.example", "https://api.github.com"),
        both("https://git.example", "https://git.example.org/api/v3"),
        both("https://git.example:8443", "https://git.example/api/v3"),
        both("https://one.ghe.com", "https://api.two.ghe.com"),
        both("https://one.ghe.com", "https://one.ghe.com"),
        both("https://git.example", "http://localhost:2"),
    ],
)
def test_two_githubs_are_one_too_many(environ: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"GITHUB_\w+ is"):
        access_from(environ)


def test_the_token_of_gh_does_for_the_workflows_and_for_no_other() -> None:
    environ = {"GH_TOKEN": "ghs_for_gh"}
    assert access_from(environ).token == "ghs_for_gh"  # noqa: S105 - no real one
    assert access_from(environ | {"GITHUB_TOKEN": "ghs_first"}).token == "ghs_first"  # noqa: S105 - no real one
    assert access_from(environ, "APP_TOKEN").token is None


# https://cli.github.com/manual/gh_help_environment
@pytest.mark.parametrize(
    ("server", "variable"),
    [
        ("https://github.com", "GH_TOKEN"),
        ("https://github.com:443/", "GH_TOKEN"),
        ("https://fountain.ghe.com", "GH_TOKEN"),
        ("http://localhost:8080", "GH_TOKEN"),
        ("https://git.example", "GH_ENTERPRISE_TOKEN"),
        ("https://github.com.example", "GH_ENTERPRISE_TOKEN"),
    ],
)
def test_a_token_that_gh_has_for_one_kind_of_server_goes_to_no_other(server: str, variable: str) -> None:
    environ = {"GITHUB_SERVER_URL": server, "GH_TOKEN": "GH_TOKEN", "GH_ENTERPRISE_TOKEN": "GH_ENTERPRISE_TOKEN"}
    access = access_from(environ)
    assert (access.token, access.gh_variable) == (variable, variable)
    del environ[variable]
    assert access_from(environ).token is None


def test_the_port_that_is_meant_anyway_makes_no_other_server() -> None:
    access = access_from({"GITHUB_SERVER_URL": "https://github.com:443/"})
    assert (access.server_url, access.api_url) == ("https://github.com", "https://api.github.com")


@pytest.mark.parametrize(
    ("server", "own"),
    [
        ("https://github.com", "https://api.github.com/repos/o/r/releases/assets/1"),
        ("https://github.com", "https://uploads.github.com/repos/o/r/releases/1/assets"),
        ("https://git.example", "https://git.example/api/uploads/repos/o/r/releases/1/assets"),
        ("https://fountain.ghe.com", "https://uploads.fountain.ghe.com/repos/o/r/releases/1/assets"),
    ],
)
def test_a_token_goes_to_the_api_and_to_where_it_takes_uploads(server: str, own: str) -> None:
    access = access_from({"GITHUB_SERVER_URL": server})
    access.require_own(own, "the upload URL")
    for other in ("https://evil.example/repos", own.replace("://", "://evil."), f"https://evil.example/?{own}"):
        with pytest.raises((RemoteError, InputError), match="the upload URL is"):
            access.require_own(other, "the upload URL")


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
        "https://:x@github.com",
        "https://github.com?x",
        "https://github.com:x",
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
