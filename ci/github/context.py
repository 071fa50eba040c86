"""Where a release goes: the repository and the token, from the variables that Actions sets, from flags, or by hand."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Self

from ci.fetch.github_access import SERVER_URL, TOKEN_VARIABLE, GitHubAccess, access_from
from ci.host.actions import in_actions
from ci.host.errors import AccessError, HostError, InputError, ToolError
from ci.host.process import run
from ci.host.secrets import mask
from ci.records.version import Version

# Says that `gh` may be asked for its token, where no variable has one.
GH_LOGIN = "TOOLSMITH_GH_LOGIN"
SECONDS = 30.0
# https://host/OWNER/NAME.git, ssh://git@host:22/OWNER/NAME, git@host:OWNER/NAME, host:OWNER/NAME
_REMOTE = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/]*@)?([^/:]+)(?::\d+)?/|(?:[^@/:]+@)?([^/:@]+):/?)([^/:]+/[^/:]+?)(?:\.git)?/?",
    re.IGNORECASE,
)
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(GitHubAccess):
    """One repository on one server, and a token for it. `commit` is what the workflow runs for, None outside Actions.

    Without a token what is public can be read, at the low limit that GitHub has for that.

    https://docs.github.com/en/actions/reference/workflows-and-actions/variables
    """

    repository: str
    commit: str | None

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        *,
        repository: str | None = None,
        token_variable: str = TOKEN_VARIABLE,
        anonymous: bool = False,
    ) -> Self:
        """Read it, `repository` going before the variable; raises InputError or AccessError.

        `anonymous` lets it be without a token.
        """
        access = access_from(environ, token_variable)
        name = repository or environ.get("GITHUB_REPOSITORY") or repository_of_remote(access.host)
        require_repository(name)
        commit = environ.get("GITHUB_SHA") or None
        if commit is not None and not _COMMIT.fullmatch(commit):
            raise InputError(f"GITHUB_SHA is {commit!r}, which is not a commit", hint="It has 40 hexadecimal digits.")
        if access.token is None and token_variable == TOKEN_VARIABLE and environ.get(GH_LOGIN):
            access = replace(access, token=_token_of_gh(access.host))
        if access.token is None and not anonymous:
            raise AccessError(
                f"there is no token in {token_variable}",
                hint="Outside Actions: a fine-grained token with contents and pull requests, read and write; "
                f"docs/releasing.md shows how to make one. {GH_LOGIN}=1 takes the one of `gh auth login`.",
            )
        return cls(**asdict(access), repository=name, commit=commit)

    def release_url(self, tag: str) -> str:
        """The page of a published release."""
        return f"{self.server_url}/{self.repository}/releases/tag/{tag}"

    def compare_url(self, base: str, branch: str) -> str:
        """The page on which a person opens a pull request."""
        return f"{self.server_url}/{self.repository}/compare/{base}...{branch}?expand=1"

    def attestation_url(self, sha256: str) -> str:
        """Where the API has what was attested of a file, by its digest."""
        return f"{self.api_url}/repos/{self.repository}/attestations/sha256:{sha256}"

    def asset_url(self, tag: str, name: str) -> str:
        """Where an asset of a published release is downloaded from."""
        return f"{self.server_url}/{self.repository}/releases/download/{tag}/{name}"


def chosen_tag(flag: str | None, environ: Mapping[str, str]) -> Version | None:
    """The tag asked for: by flag, or by having been pushed; None where neither is so. Raises InputError."""
    if flag is not None:
        return Version.parse(flag)
    if environ.get("GITHUB_REF_TYPE") == "tag":
        return Version.parse(environ.get("GITHUB_REF_NAME", ""))
    return None


def run_url(environ: Mapping[str, str]) -> str | None:
    """The page of the workflow run this is part of; None outside Actions."""
    run, repository = environ.get("GITHUB_RUN_ID"), environ.get("GITHUB_REPOSITORY")
    if not run or not repository:
        return None
    return f"{environ.get('GITHUB_SERVER_URL') or SERVER_URL}/{repository}/actions/runs/{run}"


def require_repository(name: str) -> None:
    """Raise InputError unless `name` is OWNER/NAME."""
    if not _REPOSITORY.fullmatch(name) or name.endswith(("/.", "/..")):
        raise InputError(
            f"{name!r} is not a repository", hint="Name it as OWNER/NAME with --repository, or in GITHUB_REPOSITORY."
        )


def repository_of_remote(host: str) -> str:
    """The repository that the clone around the current folder is of; raises InputError where that says none."""
    hint = f"Name it as OWNER/NAME with --repository, or in GITHUB_REPOSITORY; or work in a clone of it from {host}."
    if in_actions():
        raise InputError("no repository is named", hint=hint)
    try:
        url = run(["git", "remote", "get-url", "origin"], timeout=SECONDS).stdout.strip()
    except (ToolError, HostError) as error:
        said = error.details.strip() or error.message
        raise InputError(f"no repository is named, and git tells no remote `origin` here: {said}", hint=hint) from None
    found = _REMOTE.fullmatch(url)
    at = (found[1] or found[2]).lower() if found else ""
    if found is None or at.removeprefix("ssh.") != host.partition(":")[0]:
        where = f"is at {at}" if found else "is no address of a server"
        raise InputError(f"no repository is named, and git's remote `origin` {where}, not at {host}", hint=hint)
    return found[3]


def _token_of_gh(host: str) -> str:
    try:
        token = run(["gh", "auth", "token", "--hostname", host], timeout=SECONDS).stdout.strip()
    except (ToolError, HostError) as error:
        raise AccessError(
            f"{GH_LOGIN} is set, but gh has no token for {host}: {error.details.strip() or error.message}",
            hint=f"`gh auth login --hostname {host}`, or put a token into {TOKEN_VARIABLE}.",
        ) from None
    mask(token)
    return token
