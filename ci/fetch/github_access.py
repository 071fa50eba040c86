"""Which GitHub, and with which token: from the variables that Actions sets, and the one rule where a token may go.

https://docs.github.com/en/actions/reference/workflows-and-actions/variables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ci.host.errors import InputError
from ci.host.secrets import read_secret

SERVER_URL = "https://github.com"
API_URL = "https://api.github.com"
TOKEN_VARIABLE = "GITHUB_TOKEN"  # noqa: S105 - a name, not a token


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubAccess:
    """A GitHub, its API, and a token that is sent to the API and to nobody else; None where there is none."""

    server_url: str
    api_url: str
    token: str | None = field(repr=False)


def access_from(environ: Mapping[str, str], token_variable: str = TOKEN_VARIABLE) -> GitHubAccess:
    """What `token_variable`, GITHUB_SERVER_URL and GITHUB_API_URL say; raises InputError where no token may go."""
    server = (environ.get("GITHUB_SERVER_URL") or SERVER_URL).rstrip("/")
    # https://docs.github.com/en/enterprise-server/rest/using-the-rest-api/getting-started-with-the-rest-api
    default = API_URL if server == SERVER_URL else f"{server}/api/v3"
    api = (environ.get("GITHUB_API_URL") or default).rstrip("/")
    require_safe_url(server, "GITHUB_SERVER_URL")
    require_safe_url(api, "GITHUB_API_URL")
    return GitHubAccess(server_url=server, api_url=api, token=read_secret(environ, token_variable))


def require_safe_url(url: str, what: str) -> None:
    """Raise InputError unless a token may be sent to `url`: by https, or to a server on this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host, parts = None, urlsplit("")
    local = host in {"localhost", "127.0.0.1", "::1"}
    if not host or parts.username or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise InputError(f"{what} is {url!r}, where no token may be sent", hint=f"It begins like {API_URL}.")
