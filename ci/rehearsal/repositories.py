"""The repository object, its settings, and who one is: https://docs.github.com/rest/repos/repos."""

from aiohttp import web

from ci.rehearsal.access import CALLER, Access, Permission, require_admin
from ci.rehearsal.emulator import Emulator
from ci.rehearsal.incoming import REPOSITORY, full_name
from ci.rehearsal.passthrough import check, forward
from ci.rehearsal.releases import Releases
from ci.rehearsal.replies import ApiError, Json, no_content, not_found, reply

# What the schema `full-repository` requires and emulate leaves out.
MISSING: Json = {"network_count": 0, "subscribers_count": 0, "has_discussions": False, "temp_clone_token": ""}


class RepositoryRoutes:
    def __init__(self, emulator: Emulator, releases: Releases, access: Access) -> None:
        self._emulator = emulator
        self._releases = releases
        self._access = access

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get(REPOSITORY, self.get)
        router.add_get(f"{REPOSITORY}/immutable-releases", self.immutable_releases)
        router.add_put(f"{REPOSITORY}/immutable-releases", self.set_immutable_releases)
        router.add_delete(f"{REPOSITORY}/immutable-releases", self.set_immutable_releases)
        router.add_get("/rate_limit", self.rate_limit)
        router.add_get("/user", self.user)

    async def get(self, request: web.Request) -> web.Response:
        caller = request[CALLER]
        body = MISSING | check(await forward(self._emulator, request))
        body["pushed_at"] = body["pushed_at"] or body["created_at"]
        body.pop("permissions", None)
        if caller.token is not None:
            granted = caller.permission
            body["permissions"] = {
                "admin": granted >= Permission.ADMIN,
                "maintain": granted >= Permission.ADMIN,
                "push": granted >= Permission.PUSH,
                "triage": granted >= Permission.PUSH,
                "pull": granted >= Permission.PULL,
            }
        return reply(body)

    async def immutable_releases(self, request: web.Request) -> web.Response:
        """200 where they are enabled, 404 where not; "the authenticated user must have admin read access"."""
        require_admin(request[CALLER])
        if not self._releases.shelf(full_name(request)).immutable:
            raise not_found()
        return reply({"enabled": True, "enforced_by_owner": False})

    async def set_immutable_releases(self, request: web.Request) -> web.Response:
        require_admin(request[CALLER])
        self._releases.shelf(full_name(request)).immutable = request.method == "PUT"
        return no_content()

    async def rate_limit(self, request: web.Request) -> web.Response:
        body: Json = check(await forward(self._emulator, request))
        rate = self._access.rate(request[CALLER].token) | {"resource": "core"}
        body["resources"]["core"] = body["rate"] = rate
        return reply(body)

    async def user(self, request: web.Request) -> web.Response:
        token = request[CALLER].token
        if token is None:
            raise ApiError(401, "Requires authentication")
        if token.scopes is None:
            # A workflow's token is no user's: docs.github.com/rest/using-the-rest-api/
            # troubleshooting-the-rest-api#resource-not-accessible
            raise ApiError(403, "Resource not accessible by integration")
        body: Json = check(await forward(self._emulator, request))
        return reply(body | {"login": token.login})
