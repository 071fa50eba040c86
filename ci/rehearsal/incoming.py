"""What a handler wants to know of a request."""

from aiohttp import web

from ci.rehearsal.access import CALLER, Caller
from ci.rehearsal.emulator import Emulator
from ci.rehearsal.replies import ApiError, Json, not_found

REPOSITORY = "/repos/{owner}/{repo}"


def full_name(request: web.Request) -> str:
    """`OWNER/REPOSITORY`, as the repository itself spells it."""
    repository = request[CALLER].repository
    if repository is None:
        raise not_found()
    name: str = repository["full_name"]
    return name


async def wishes(request: web.Request) -> Json:
    """The JSON object in a request's body, without nulls; raises the 400 for anything else."""
    try:
        body: object = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ApiError(400, "Problems parsing JSON")
    return {name: value for name, value in body.items() if value is not None}


async def simple_user(emulator: Emulator, caller: Caller) -> Json:
    """Schema `simple-user` of who sent a request; emulate knows one user, and the others differ in name only."""
    user = await emulator.call("GET", "/user")
    login = caller.token.login if caller.token else user["login"]
    kept = {"id", "site_admin", "login", "node_id", "gravatar_id", "type"}
    return {
        name: value.replace(user["login"], login) if isinstance(value, str) else value
        for name, value in user.items()
        if name in kept or name.endswith("url")
    }
