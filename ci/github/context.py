"""Where a release goes: the repository and the token, from the variables that Actions sets or from flags."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

from ci.fetch.github_access import SERVER_URL, TOKEN_VARIABLE, GitHubAccess, access_from
from ci.host.errors import AccessError, InputError
from ci.records.version import Version

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
        name = repository or environ.get("GITHUB_REPOSITORY", "")
        require_repository(name)
        commit = environ.get("GITHUB_SHA") or None
        if commit is not None and not _COMMIT.fullmatch(commit):
            raise InputError(f"GITHUB_SHA is {commit!r}, which is not a commit", hint="It has 40 hexadecimal digits.")
        access = access_from(environ, token_variable)
        if access.token is None and not anonymous:
            raise AccessError(
                f"there is no token in {token_variable}",
                hint="Outside Actions: a fine-grained token with contents and pull requests, read and write; "
                "docs/releasing.md shows how to make one.",
            )
        return cls(**asdict(access), repository=name, commit=commit)

    def release_url(self, tag: str) -> str:
        """The page of a published release."""
        return f"{self.server_url}/{self.repository}/releases/tag/{tag}"

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
