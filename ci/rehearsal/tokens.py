"""The kinds of tokens, and what GitHub lets each of them do: a stand-in is stricter than GitHub, never kinder.

A classic token may what its scopes and its user's role allow; every other kind only what it was granted, one
permission for each kind of call:
https://docs.github.com/rest/authentication/permissions-required-for-github-apps
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from ci.rehearsal.replies import ApiError, Json, not_found

READING = {"GET", "HEAD"}


class Kind(StrEnum):
    """`WORKFLOW` is the GITHUB_TOKEN of a job, `APP` what `actions/create-github-app-token` makes."""

    CLASSIC = "personal access token (classic)"
    FINE_GRAINED = "fine-grained personal access token"
    WORKFLOW = "GITHUB_TOKEN"
    APP = "app installation"


# https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api, in an hour
LIMITS = {None: 60, Kind.WORKFLOW: 1000}
USERS_LIMIT = 5000
# Not read by everybody where the repository is public: "authenticated users must have collaborator access".
# https://docs.github.com/rest/actions/variables, and for pages what its description leaves open
FOR_COLLABORATORS = {"administration", "environments", "pages", "secrets", "variables"}
WRITES = {"contents": "write", "pull_requests": "write"}
READS = {"contents": "read", "pull_requests": "read"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Token:
    """Of the repositories' owner where it `owns`; a user who does not may read what is public.

    `scopes` are those of a classic one. The other kinds were `granted` permissions: an installation's in all of the
    owner's repositories, or in the one whose id is `repository`.
    """

    login: str
    kind: Kind
    owns: bool = False
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
        return self._covers(repository) and (self.kind is not Kind.CLASSIC or "repo" in self._scopes())

    def allows(self, permission: str, level: str, repository: Json) -> bool:
        """Whether it may do what takes `level` of `permission`, in a repository that is there for it."""
        if level == "read" and permission not in FOR_COLLABORATORS:
            # "can be used without authentication or the aforementioned permissions if only public resources are
            # requested"; but an installation's is refused at home: https://github.com/Future-House/ldp/pull/57
            at_home = self.installation and self._covers(repository)
            if self.kind is Kind.CLASSIC or not (repository["private"] or at_home):
                return True
        if self.kind is Kind.CLASSIC:
            scopes = {"workflow"} if permission == "workflows" else {"repo"}
            if permission not in {"workflows", *FOR_COLLABORATORS} and not repository["private"]:
                scopes.add("public_repo")
            return self.owns and bool(self._scopes() & scopes)
        return self._covers(repository) and {"metadata": "read", **self.granted}.get(permission) in {level, "write"}

    def permissions(self, repository: Json) -> Json | None:
        """The field of that name in a repository: what the *user* may, whatever the token was given.

        An installation is no user, and so may nothing: https://github.com/flathub-infra/flatpak-external-data-checker/
        pull/223. An app's does not even have the field: https://github.com/semantic-release/github/issues/182
        """
        if self.kind is Kind.APP:
            return None
        return {
            "admin": self.owns, "maintain": self.owns, "push": self.owns, "triage": self.owns,
            "pull": self.owns or not (self.installation or repository["private"]),
        }  # fmt: skip

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
        return self.repository in {None, repository["id"]} if self.installation else self.owns

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
    mine = partial(Token, login=owner, owns=True)
    return Tokens(
        admin=mine(kind=Kind.CLASSIC, scopes="repo, workflow"),
        fine_grained=mine(kind=Kind.FINE_GRAINED, granted=WRITES),
        app=Token(login="roll-out[bot]", kind=Kind.APP, granted=WRITES),
        scopeless=mine(kind=Kind.CLASSIC, scopes="gist"),
        reader=mine(kind=Kind.FINE_GRAINED, granted=READS),
        expired=mine(kind=Kind.FINE_GRAINED, granted=WRITES),
        outsider=Token(login="outsider", kind=Kind.CLASSIC, scopes="repo"),
    )


# What a call takes, by how its path below the repository begins, the longest first; all else is contents. Where an
# environment's names are asked for, `*` stands for its own.
_RESOURCES = {
    "": ("metadata",),
    "actions": ("actions",),
    "actions/organization-secrets": ("secrets",),
    "actions/organization-variables": ("variables",),
    "actions/permissions": ("administration",),
    "actions/secrets": ("secrets",),
    "actions/variables": ("variables",),
    "attestations": ("attestations",),
    "environments": ("actions",),
    "environments/*/secrets": ("environments",),
    "environments/*/variables": ("environments",),
    "immutable-releases": ("administration",),
    "pages": ("pages",),
    "rules": ("metadata",),
    "rulesets": ("metadata",),
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
    parts = path.strip("/").split("/")
    if parts[0] == "environments" and len(parts) > 1:
        parts[1] = "*"
    begins = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
    permissions = next((_RESOURCES[begin] for begin in begins if begin in _RESOURCES), ("contents",))
    level = "read" if method in READING else "write"
    if permissions == ("metadata",) and level == "write":
        permissions = ("administration",)
    accepted = "; ".join(f"{name}={level}" for name in permissions)
    if _MAY_TAKE_WORKFLOWS.fullmatch(f"{method} {path}"):
        accepted = "contents=write; contents=write,workflows=write"
    return Need(permissions, level, accepted)
