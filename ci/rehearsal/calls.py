"""What a handler asks of a request, and how it passes one on to emulate and puts the answer into GitHub's words."""

from typing import Any

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.emulator import EMULATOR, EmulatorAnswer
from ci.rehearsal.replies import ApiError, Json, no_content, not_found, reply

REPOSITORY = "/repos/{owner}/{repo}"

everything_else = web.RouteTableDef()


def full_name(request: web.Request) -> str:
    """`OWNER/REPOSITORY`, as the repository itself spells it."""
    repository = request[CALLER].repository
    if repository is None:
        raise not_found()
    name: str = repository["full_name"]
    return name


async def wishes(request: web.Request) -> Json:
    """The JSON object in a request's body, without nulls; raises the 400 for anything else."""
    body = await _body(request)
    if not isinstance(body, dict):
        raise ApiError(400, "Problems parsing JSON")
    return {name: value for name, value in body.items() if value is not None}


async def simple_user(request: web.Request) -> Json:
    """Schema `simple-user` of who sent a request; emulate knows one user, and the others differ in name only."""
    user, token = await request.app[EMULATOR].call("GET", "/user"), request[CALLER].token
    login = token.login if token else user["login"]
    kept = {"id", "site_admin", "login", "node_id", "gravatar_id", "type"}
    return {
        name: value.replace(user["login"], login) if isinstance(value, str) else value
        for name, value in user.items()
        if name in kept or name.endswith("url")
    }


async def forward(request: web.Request) -> EmulatorAnswer:
    """The same request, to emulate."""
    body = await _body(request) if request.body_exists else None
    return await request.app[EMULATOR].request(request.method, request.rel_url.raw_path, body=body, query=request.query)


async def forwarded(request: web.Request) -> Any:  # noqa: ANN401 - JSON
    """What emulate answers to the same request; raises ApiError for an error."""
    return (await forward(request)).checked()


@everything_else.route("*", "/{path:.*}")
async def pass_through(request: web.Request) -> web.Response:
    """What emulate does well."""
    answer = await forward(request)
    if answer.checked() is None:
        return no_content()
    return reply(answer.body, status=answer.status, headers=answer.links)


async def _body(request: web.Request) -> object:
    try:
        body: object = await request.json()
    except ValueError:
        raise ApiError(400, "Problems parsing JSON") from None
    return body
