"""The kinds of tokens, and what GitHub lets each of them do: a stand-in is stricter than GitHub, never kinder.

A classic token may what its scopes and its user's role allow; every other kind only what it was granted, one
permission for each kind of call:
https://docs.github.com/rest/authentication/permissions-required-for-github-apps
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NamedTuple

from ci.rehearsal.replies import ApiError, Json, not_found

READING = {"GET", "HEAD"}


class Permission(IntEnum):
    """What a user may do with a repository; each includes those before it."""

    NONE = 0
    PULL = 1
    PUSH = 2
    ADMIN = 3


class Kind(StrEnum):
    """`WORKFLOW` is the GITHUB_TOKEN of a job, `APP` what `actions/create-github-app-token` makes."""

    CLASSIC = "personal access token (classic)"
    FINE_GRAINED = "fine-grained personal access token"
    WORKFLOW = "GITHUB_TOKEN"
    APP = "app installation"


# "... an artefact of the kind of token": an installation is no user, and `permissions` are a user's. All false:
# https://github.com/flathub-infra/flatpak-external-data-checker/pull/223; for an app's not even that:
# https://github.com/semantic-release/github/issues/182. Without a token there are none.
ROLES = {
    "admin": Permission.ADMIN, "maintain": Permission.ADMIN, "push": Permission.PUSH, "triage": Permission.PUSH,
    "pull": Permission.PULL,
}  # fmt: skip
# https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api, in an hour
LIMITS = {None: 60, Kind.WORKFLOW: 1000}
USERS_LIMIT = 5000
WRITES = {"contents": "write", "pull_requests": "write"}
READS = {"contents": "read", "pull_requests": "read"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`role` is its user's. `scopes` are those of a classic one; the other kinds were `granted` permissions, all but
    a GITHUB_TOKEN for every repository of the owner; `repository` is the id of the only one that it is for.
    """

    login: str
    kind: Kind
    role: Permission = Permission.NONE
    scopes: str | None = None
    granted: Mapping[str, str] = field(default_factory=dict)
    repository: int | None = None
    # Nobody can guess it, so that one that leaks into a log is found there.
    secret: str = field(repr=False, default_factory=lambda: secrets.token_hex(20))

    @property
    def installation(self) -> bool:
        return self.kind in {Kind.WORKFLOW, Kind.APP}

    @property
    def limit(self) -> int:
        return LIMITS.get(self.kind, USERS_LIMIT)

    def sees(self, repository: Json) -> bool:
        """True where a private repository is there for it."""
        if self.kind is Kind.CLASSIC:
            return self.role >= Permission.PULL and "repo" in self._scopes()
        return self._covers(repository)

    def allows(self, permission: str, level: str, repository: Json) -> bool:
        """Whether it may do what takes `level` of `permission`."""
        if self.kind is Kind.CLASSIC:
            enough = {"repo"} if repository["private"] else {"repo", "public_repo"}
            role = Permission.ADMIN if permission == "administration" else Permission.PUSH
            if level == "read" and permission != "administration":
                return self.role >= Permission.PULL or not repository["private"]
            scope = {"workflow"} if permission == "workflows" else enough
            return self.role >= role and bool(self._scopes() & scope)
        if level == "read" and not repository["private"] and not self.installation and permission != "administration":
            # "can be used without authentication or the aforementioned permissions if only public resources are
            # requested". An installation's is refused in what is public, too: https://github.com/Future-House/ldp/pull/57
            return True
        granted = {"metadata": "read", **self.granted}.get(permission, "none")
        by_user = self.installation or level == "read" or self.role >= Permission.PUSH
        return self._covers(repository) and by_user and granted in {level, "write"}

    def permissions(self, repository: Json) -> Json | None:
        """The field of that name in a repository: what the *user* may, whatever the token was given."""
        if self.kind is Kind.APP:
            return None
        role = Permission.NONE if self.installation else max(self.role, Permission(not repository["private"]))
        return {name: role >= needed for name, needed in ROLES.items()}

    def refusal(self, accepted: str) -> ApiError:
        """Of what it may not do; `accepted` is what would do.

        A classic token is told that there is nothing: https://docs.github.com/rest/using-the-rest-api/
        troubleshooting-the-rest-api#404-not-found-for-an-existing-resource, https://github.com/cli/cli/issues/9773.
        For the others: https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
        #resource-not-accessible, https://github.com/octokit/octokit.js/issues/2758
        """
        if self.kind is Kind.CLASSIC:
            return not_found()
        kind = "integration" if self.installation else "personal access token"
        headers = {"X-Accepted-GitHub-Permissions": accepted}
        return ApiError(403, f"Resource not accessible by {kind}", headers=headers)

    def _covers(self, repository: Json) -> bool:
        if self.installation:
            return self.repository in {None, repository["id"]}
        return self.role >= Permission.PULL

    def _scopes(self) -> set[str]:
        return set((self.scopes or "").split(", "))


class Tokens(NamedTuple):
    """Those that exist from the beginning; each GITHUB_TOKEN is made for its job."""

    admin: Token
    fine_grained: Token
    app: Token
    scopeless: Token
    reader: Token
    expired: Token
    outsider: Token


def make_tokens(owner: str) -> Tokens:
    admin, app = Permission.ADMIN, "roll-out[bot]"
    return Tokens(
        admin=Token(login=owner, kind=Kind.CLASSIC, role=admin, scopes="repo, workflow"),
        fine_grained=Token(login=owner, kind=Kind.FINE_GRAINED, role=admin, granted=WRITES),
        app=Token(login=app, kind=Kind.APP, granted=WRITES),
        scopeless=Token(login=owner, kind=Kind.CLASSIC, role=admin, scopes="gist"),
        reader=Token(login=owner, kind=Kind.FINE_GRAINED, role=admin, granted=READS),
        expired=Token(login=owner, kind=Kind.FINE_GRAINED, role=admin, granted=WRITES),
        outsider=Token(login="outsider", kind=Kind.CLASSIC, scopes="repo"),
    )


# What a call takes, by how its path below the repository begins; all else is contents.
_RESOURCES = {
    "": ("metadata",),
    "actions": ("actions",),
    "attestations": ("attestations",),
    "immutable-releases": ("administration",),
    # Those of pull requests, which alone are asked for, are of either.
    "issues": ("issues", "pull_requests"),
    "labels": ("issues", "pull_requests"),
    "pulls": ("pull_requests",),
}
# "contents=write; contents=write,workflows=write" of `POST releases`: https://github.com/vybestack/llxprt-code/issues/
# 3115; of references: https://github.com/mkb79/Audible/pull/882. ci/rehearsal/workflows.py decides which of the two.
_MAY_TAKE_WORKFLOWS = re.compile(r"(POST|PATCH) /(releases(/\d+)?|git/(refs(/.+)?|trees|commits))")


class Need(NamedTuple):
    """What a call takes: `level` of one of `permissions`; in GitHub's words it is `accepted`."""

    permissions: tuple[str, ...]
    level: str
    accepted: str


def need(method: str, path: str) -> Need:
    """What a call takes; `path` is below the repository."""
    permissions = _RESOURCES.get(path.strip("/").partition("/")[0], ("contents",))
    level = "read" if method in READING else "write"
    if permissions == ("metadata",) and level == "write":
        permissions = ("administration",)
    accepted = "; ".join(f"{name}={level}" for name in permissions)
    if _MAY_TAKE_WORKFLOWS.fullmatch(f"{method} {path}"):
        accepted = "contents=write; contents=write,workflows=write"
    return Need(permissions, level, accepted)
