"""What was asked and what was answered, for tests that look at the whole conversation afterwards."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

# What stands for uploads.github.com; a GitHub Enterprise Server has it there too.
UPLOADS = "/api/uploads"
SECRET_HEADERS = {"authorization", "cookie"}
FAULT = web.RequestKey("fault", str)
UNANSWERED = web.RequestKey("unanswered", bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer.

    `path` is as sent, without the query. `authorized` tells whether it came with a token. `request_body` and
    `response_body` are the JSON, None where there was none. `status` is None where the client got no answer, or none
    yet. `fault` names what was done to it.
    """

    method: str
    path: str
    query: Mapping[str, str]
    request_headers: Mapping[str, str]
    authorized: bool
    request_body: Any
    status: int | None = None
    response_body: Any = None
    fault: str | None = None


class ExchangeLog:
    """Every exchange in the order of the requests: one that ends late is not taken for one of those that followed."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # An upload is not read here, whatever its type: it may be larger than the memory.
        body = None if request.path.startswith(UPLOADS) else _parse(await request.read())
        asked = Exchange(
            method=request.method,
            path=request.rel_url.raw_path,
            query=dict(request.query),
            request_headers={
                name: value for name, value in request.headers.items() if name.lower() not in SECRET_HEADERS
            },
            authorized="Authorization" in request.headers,
            request_body=body,
        )
        place = len(self.exchanges)
        self.exchanges.append(asked)
        response: web.StreamResponse | None = None
        try:
            response = await handler(request)
        finally:
            answered = None if request.get(UNANSWERED) else response
            self.exchanges[place] = replace(
                asked,
                status=answered.status if answered is not None else None,
                response_body=_parse(answered.body) if isinstance(answered, web.Response) else None,
                fault=request.get(FAULT),
            )
        return response


def _parse(body: Any) -> Any:  # noqa: ANN401 - what aiohttp takes for a body, and JSON
    if not isinstance(body, bytes | bytearray) or not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return None
