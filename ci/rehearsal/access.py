"""Who asks, and what GitHub lets them do.

The roles are those a release meets: a maintainer's own token, the GITHUB_TOKEN of a workflow with `contents: write`,
one that may only read, an expired one, and somebody who does not know the repository.
"""

import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from ci.rehearsal.emulator import Emulator
from ci.rehearsal.replies import ApiError, Json, not_found

REPOSITORY = re.compile(r"^(?:/api/uploads)?/repos/([^/]+/[^/]+)(/.*)?$")
READING = {"GET", "HEAD"}
HOURLY_LIMIT = 5000


class Permission(IntEnum):
    """What a token may do with a repository; each includes those before it."""

    NONE = 0
    PULL = 1
    PUSH = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`scopes` are those of a classic personal token, None for a GitHub App's and a workflow's, which have none."""

    login: str
    permission: Permission
    scopes: str | None = None
    expired: bool = False
    # Nobody can guess it, so that one that leaks into a log is found there.
    secret: str = field(repr=False, default_factory=lambda: secrets.token_hex(20))


class Tokens(NamedTuple):
    admin: Token
    workflow: Token
    reader: Token
    expired: Token
    outsider: Token


def make_tokens(owner: str) -> Tokens:
    bot = "github-actions[bot]"
    return Tokens(
        admin=Token(login=owner, permission=Permission.ADMIN, scopes="repo, workflow"),
        workflow=Token(login=bot, permission=Permission.PUSH),
        reader=Token(login=bot, permission=Permission.PULL),
        expired=Token(login=owner, permission=Permission.ADMIN, expired=True),
        outsider=Token(login="outsider", permission=Permission.NONE, scopes="repo"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request; `repository` is emulate's object of the one it is about, if any."""

    token: Token | None
    permission: Permission
    repository: Json | None

    @property
    def can_push(self) -> bool:
        return self.permission >= Permission.PUSH


CALLER = web.RequestKey("caller", Caller)


class Access:
    """Lets a request through, with its caller noted, or refuses it; counts what is left of the rate limit."""

    def __init__(self, tokens: Tokens, emulator: Emulator) -> None:
        self._tokens = {token.secret: token for token in tokens}
        self._emulator = emulator
        self._used: Counter[str] = Counter()
        self._reset = int(time.time()) + 3600

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            request[CALLER] = await self._caller(request)
            response = await handler(request)
        except ApiError as refusal:
            response = refusal.response()
        if not response.prepared:
            for name, value in self._headers(request.get(CALLER)).items():
                response.headers.setdefault(name, value)
        return response

    def _headers(self, caller: Caller | None) -> dict[str, str]:
        token = caller.token if caller else None
        login = token.login if token else ""
        self._used[login] += 1
        used = min(self._used[login], HOURLY_LIMIT - 1)
        scopes = {"X-OAuth-Scopes": token.scopes} if token and token.scopes else {}
        return scopes | {
            "X-RateLimit-Limit": str(HOURLY_LIMIT),
            "X-RateLimit-Remaining": str(HOURLY_LIMIT - used),
            "X-RateLimit-Used": str(used),
            "X-RateLimit-Reset": str(self._reset),
            "X-RateLimit-Resource": "core",
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": secrets.token_hex(8).upper(),
        }

    async def _caller(self, request: web.Request) -> Caller:
        token, repository = self._authenticate(request), None
        permission = token.permission if token else Permission.NONE
        if place := REPOSITORY.match(request.path):
            repository = await self._emulator.repository(place.group(1))
            if repository is not None and not repository["private"]:
                permission = max(permission, Permission.PULL)
            if repository is None or permission is Permission.NONE:
                # GitHub does not say that there is something: docs.github.com/rest/using-the-rest-api/
                # troubleshooting-the-rest-api#404-not-found-for-an-existing-resource
                raise not_found()
        caller = Caller(token=token, permission=permission, repository=repository)
        if request.method not in READING:
            _require_write(caller)
        return caller

    def _authenticate(self, request: web.Request) -> Token | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        token = self._tokens.get(header.partition(" ")[2].strip())
        if token is None or token.expired:
            # docs.github.com/rest/authentication/authenticating-to-the-rest-api#failed-login-limit
            raise ApiError(401, "Bad credentials")
        return token


def require_admin(caller: Caller) -> None:
    """Raise ApiError for all but admins."""
    if caller.permission < Permission.ADMIN:
        raise _not_accessible("administration=read")


def _require_write(caller: Caller) -> None:
    if caller.token is None:
        raise ApiError(401, "Requires authentication")
    if not caller.can_push:
        raise _not_accessible("contents=write")
    if caller.repository and caller.repository["archived"]:
        raise ApiError(403, "Repository was archived so is read-only.")


def _not_accessible(permission: str) -> ApiError:
    # docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#resource-not-accessible
    headers = {"X-Accepted-GitHub-Permissions": permission}
    return ApiError(403, "Resource not accessible by integration", headers=headers)
