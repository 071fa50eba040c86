"""Who asks, and whether GitHub lets them: each request is let through with its caller noted, or refused.

What each kind of token may do is in ci/rehearsal/tokens.py.
"""

import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler

from ci.rehearsal.emulator import Emulator
from ci.rehearsal.replies import ApiError, Json, not_found
from ci.rehearsal.tokens import FOR_COLLABORATORS, LIMITS, READING, USERS_LIMIT, Kind, Need, Token, Tokens, need

PLACE = re.compile(r"^(?P<host>/api/uploads)?/(?:repos/(?P<name>[^/]+/[^/]+)|repositories/(?P<id>\d+))(?P<rest>/.*)?$")
NOT_THE_API = re.compile(r"^/(release-assets/|[^/]+/[^/]+/releases/)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request, and what it takes; `repository` is emulate's object of the one it is about, if any."""

    token: Token | None
    repository: Json | None
    need: Need

    @property
    def known_repository(self) -> Json:
        if self.repository is None:
            raise not_found()
        return self.repository

    @property
    def can_push(self) -> bool:
        return self.allows("contents", "write")

    def allows(self, permission: str, level: str) -> bool:
        return self.token is not None and self.token.allows(permission, level, self.known_repository)

    def refusal(self) -> ApiError:
        """GitHub's answer to what they may not do."""
        if self.token is None:
            return ApiError(401, "Requires authentication")
        return self.token.refusal(self.need.accepted)

    def check(self) -> None:
        """Raise the refusal of what they may not do, or of what nobody may."""
        writes = self.need.level == "write"
        if self.repository is None:
            if writes and (self.token is None or self.token.kind is not Kind.CLASSIC):
                raise self.refusal()
            return
        if self.token is None and not writes and FOR_COLLABORATORS.isdisjoint(self.need.permissions):
            return
        if not any(self.allows(permission, self.need.level) for permission in self.need.permissions):
            raise self.refusal()
        if writes and self.repository["archived"]:
            raise ApiError(403, "Repository was archived so is read-only.")


CALLER = web.RequestKey("caller", Caller)


class Access:
    """Lets a request through, with its caller noted, or refuses it; counts what is left of the rate limit."""

    def __init__(self, tokens: Tokens, emulator: Emulator) -> None:
        self._emulator = emulator
        self._known = {token.secret: token for token in tokens}
        self._used: Counter[object] = Counter()
        self._reset = int(time.time()) + 3600
        self.expire(tokens.expired)

    def add(self, token: Token) -> Token:
        self._known[token.secret] = token
        return token

    def expire(self, token: Token) -> None:
        """From now on GitHub does not know it."""
        del self._known[token.secret]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token: Token | None = None
        try:
            token = self._authenticate(request)
            self._count(request, token)
            caller = request[CALLER] = await self._caller(request, token)
            caller.check()
            response = await handler(request)
        except ApiError as refusal:
            response = refusal.response()
        if not response.prepared and not NOT_THE_API.match(request.path):
            for name, value in self._headers(request, token).items():
                response.headers.setdefault(name, value)
        return response

    def _count(self, request: web.Request, token: Token | None) -> None:
        """Raise the 403 where nothing is left. Only low limits end: tests share the tokens with the others."""
        if NOT_THE_API.match(request.path):
            return
        self._used[_purse(token)] += 1
        limit = token.limit if token else LIMITS[None]
        if self._used[_purse(token)] > limit < USERS_LIMIT:
            # The words: https://github.com/github/gh-aw/pull/14368
            whom = f"installation ID {token.repository}" if token else "127.0.0.1"
            raise ApiError(403, f"API rate limit exceeded for {whom}.")

    def _headers(self, request: web.Request, token: Token | None) -> dict[str, str]:
        limit = token.limit if token else LIMITS[None]
        used = min(self._used[_purse(token)], limit)
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(limit - used),
            "X-RateLimit-Used": str(used),
            "X-RateLimit-Reset": str(self._reset),
            "X-RateLimit-Resource": "core",
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": secrets.token_hex(8).upper(),
        }
        if token and token.scopes is not None:
            # Empty for most writes, as GitHub sent it: @octokit/fixtures 23.1.2, rename-repository
            headers |= {"X-OAuth-Scopes": token.scopes, "X-Accepted-OAuth-Scopes": ""}
        elif token and (caller := request.get(CALLER)):
            # With every answer: https://github.com/gm3dmo/the-power/issues/450
            headers["X-Accepted-GitHub-Permissions"] = caller.need.accepted
        return headers

    async def _caller(self, request: web.Request, token: Token | None) -> Caller:
        place = PLACE.match(request.path)
        if place is None:
            return Caller(token=token, repository=None, need=need(request.method, request.path))
        if place["id"]:
            repository = await self._emulator.get(f"/repositories/{place['id']}")
        else:
            repository = await self._emulator.repository(place["name"])
        if repository is None or (repository["private"] and not (token and token.sees(repository))):
            # GitHub does not say that there is something: docs.github.com/rest/using-the-rest-api/
            # troubleshooting-the-rest-api#404-not-found-for-an-existing-resource
            raise not_found()
        caller = Caller(token=token, repository=repository, need=need(request.method, place["rest"] or ""))
        if place["name"] and place["name"].lower() != repository["full_name"].lower():
            raise self._moved(request, f"{place['host'] or ''}/repositories/{repository['id']}{place['rest'] or ''}")
        return caller

    def _moved(self, request: web.Request, path: str) -> ApiError:
        """What a renamed repository's old name answers: @octokit/fixtures 23.1.2, rename-repository.

        "301 ... 307": https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api
        #follow-redirects; that of a POST as in https://github.com/18F/charlie/pull/85
        """
        url = str(request.url.with_path(path).with_query(request.query))
        status = 301 if request.method in READING else 307
        return ApiError(status, "Moved Permanently", headers={"Location": url}, url=url)

    def _authenticate(self, request: web.Request) -> Token | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        token = self._known.get(header.partition(" ")[2].strip())
        if token is None:
            # docs.github.com/rest/authentication/authenticating-to-the-rest-api#failed-login-limit
            raise ApiError(401, "Bad credentials")
        return token


def _purse(token: Token | None) -> object:
    """What a request is counted for: "1,000 requests per hour per repository" are those of all its GITHUB_TOKENs."""
    return token.repository if token and token.kind is Kind.WORKFLOW else token
