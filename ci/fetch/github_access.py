"""Which GitHub, and with which token: from the variables that Actions and `gh` set, and where a token may go.

https://docs.github.com/en/actions/reference/workflows-and-actions/variables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ci.fetch.source import public_url
from ci.host.errors import InputError, RemoteError
from ci.host.secrets import read_secret

SERVER_URL = "https://github.com"
API_URL = "https://api.github.com"
TOKEN_VARIABLE = "GITHUB_TOKEN"  # noqa: S105 - a name, not a token
# What `gh` reads, for GitHub's own servers and for all others: https://cli.github.com/manual/gh_help_environment
GH_TOKEN, GH_ENTERPRISE_TOKEN = "GH_TOKEN", "GH_ENTERPRISE_TOKEN"
LOCAL = {"localhost", "127.0.0.1", "::1"}
OF_GITHUB = ("github.com", ".ghe.com")
ENTERPRISE_API = "/api/v3"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubAccess:
    """A GitHub, its API, and a token that is sent to the API and to nobody else; None where there is none."""

    server_url: str
    api_url: str
    token: str | None = field(repr=False)

    @property
    def host(self) -> str:
        """The server's name, as `gh` and git know it."""
        return urlsplit(self.server_url).netloc

    @property
    def gh_variable(self) -> str:
        """Where `gh` takes this server's token from."""
        return _gh_variable(self.server_url)

    def require_own(self, url: str, what: str) -> None:
        """Raise RemoteError unless `url` is of the API's server, or of the one that takes its uploads."""
        require_safe_url(url, what)
        api = urlsplit(self.api_url)
        if urlsplit(url).netloc.lower() not in {api.netloc, f"uploads.{api.netloc.removeprefix('api.')}"}:
            raise RemoteError(
                f"{what} is {url!r}, which is not of {self.api_url}", hint="Look for a proxy on the way to GitHub."
            )


def access_from(environ: Mapping[str, str], token_variable: str = TOKEN_VARIABLE) -> GitHubAccess:
    """What `token_variable`, GITHUB_SERVER_URL and GITHUB_API_URL say; raises InputError where no token may go.

    What `gh` reads for that server does for GITHUB_TOKEN. One of the two addresses does for both; two
    have to be of one GitHub.
    """
    server = _address(environ, "GITHUB_SERVER_URL")
    api = _address(environ, "GITHUB_API_URL")
    if server is None:
        server = SERVER_URL if api is None else _server_of(api)
    elif urlsplit(server).hostname not in LOCAL and (urlsplit(server).path or _is_api(server)):
        raise InputError(f"GITHUB_SERVER_URL is {server!r}", hint=f"It is no API and has no path: like {SERVER_URL}.")
    if api is None:
        api = _api_of(server)
    elif api != _api_of(server) and not _beside(server, api):
        raise InputError(
            f"GITHUB_API_URL is {api!r}, which is not the API of GITHUB_SERVER_URL, {server!r}",
            hint=f"That is {_api_of(server)}. Set both for one GitHub, or only one of them.",
        )
    token = read_secret(environ, token_variable)
    if token is None and token_variable == TOKEN_VARIABLE:
        token = read_secret(environ, _gh_variable(server))
    return GitHubAccess(server_url=server, api_url=api, token=token)


def _address(environ: Mapping[str, str], name: str) -> str | None:
    url = environ.get(name, "").strip().rstrip("/")
    if not url:
        return None
    require_safe_url(url, name)
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
    return f"{parts.scheme}://{host}{parts.path}"


def _gh_variable(server: str) -> str:
    host = urlsplit(server).hostname or ""
    return GH_TOKEN if _of_github(host) or host in LOCAL else GH_ENTERPRISE_TOKEN


def _api_of(server: str) -> str:
    """The API of a server.

    https://docs.github.com/en/enterprise-cloud@latest/admin/data-residency/network-details-for-ghecom
    https://docs.github.com/en/enterprise-server/rest/using-the-rest-api/getting-started-with-the-rest-api
    """
    scheme, _, host = server.partition("://")
    return f"{scheme}://api.{host}" if _of_github(host) else f"{server}{ENTERPRISE_API}"


def _server_of(api: str) -> str:
    if _is_api(api):
        return api.replace("://api.", "://", 1)
    if api.endswith(ENTERPRISE_API):
        return api.removesuffix(ENTERPRISE_API)
    raise InputError(
        f"GITHUB_API_URL is {api!r}, which does not tell its server", hint="Set GITHUB_SERVER_URL too, to the same one."
    )


def _is_api(url: str) -> bool:
    host = url.partition("://")[2]
    return host.startswith("api.") and _of_github(host.removeprefix("api."))


def _of_github(host: str) -> bool:
    """Whether GitHub itself runs it: github.com, or an enterprise's NAME.ghe.com."""
    return host == OF_GITHUB[0] or (host.endswith(OF_GITHUB[1]) and host.count(".") == 2)


def _beside(server: str, api: str) -> bool:
    """Whether an API of no known address is at least on the same server, or on this machine as the server is."""
    hosts = {urlsplit(server).hostname, urlsplit(api).hostname}
    return hosts <= LOCAL or (urlsplit(api)[:2] == urlsplit(server)[:2] and not _of_github(server.partition("//")[2]))


def require_safe_url(url: str, what: str) -> None:
    """Raise InputError unless a token may be sent to `url`: by https, or to a server on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in LOCAL)
    if not host or "@" in parts.netloc or parts.query or parts.fragment or not safe:
        shown = public_url(url) if "@" in url else url
        raise InputError(f"{what} is {shown!r}, where no token may be sent", hint=f"It begins like {API_URL}.")
