"""What a handler asks of a request, and how it passes one on to emulate and puts the answer into GitHub's words."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ci.rehearsal.access import CALLER, PLACE
from ci.rehearsal.emulator import EMULATOR, EmulatorAnswer
from ci.rehearsal.replies import ApiError, Json, no_content, page_size, reply

REPOSITORY = "/repos/{owner}/{repo}"

everything_else = web.RouteTableDef()


def full_name(request: web.Request) -> str:
    """`OWNER/REPOSITORY`, as the repository itself spells it."""
    name: str = request[CALLER].known_repository["full_name"]
    return name


def api_path(request: web.Request) -> str:
    """The path as emulate knows it: by the repository's name, where GitHub takes its id as well."""
    path = request.rel_url.raw_path
    place = PLACE.match(path)
    return f"/repos/{full_name(request)}{place['rest'] or ''}" if place and place["id"] else path


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


async def forward(request: web.Request, query: Mapping[str, str] | None = None) -> EmulatorAnswer:
    """The same request, to emulate; `query` replaces its own."""
    body = await _body(request) if request.body_exists else None
    query = dict(request.query if query is None else query)
    if request.method == "GET":
        query["per_page"] = str(page_size(request))
    return await request.app[EMULATOR].request(request.method, api_path(request), body=body, query=query)


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
