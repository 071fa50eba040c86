"""What emulate does well goes to it and back; what it says is put into GitHub's words."""

from typing import Any

from aiohttp import web

from ci.rehearsal.emulator import Answer, Emulator
from ci.rehearsal.replies import ApiError, no_content, reply

# emulate's messages that differ from GitHub's.
GITHUB_WORDS = {
    "Invalid sha": "Object does not exist",
    "Update is not a fast-forward": "Update is not a fast forward",
    "Validation failed": "Validation Failed",
}


class Passthrough:
    """Requests that are nobody else's."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_route("*", "/{path:.*}", self.handle)

    async def handle(self, request: web.Request) -> web.Response:
        return relay(await forward(self._emulator, request))


async def forward(emulator: Emulator, request: web.Request) -> Answer:
    """The same request, to emulate."""
    body: object = None
    if request.body_exists:
        try:
            body = await request.json()
        except ValueError:
            raise ApiError(400, "Problems parsing JSON") from None
    return await emulator.request(request.method, request.rel_url.raw_path, body=body, query=request.query)


def relay(answer: Answer) -> web.Response:
    """Emulate's answer as GitHub's; raises ApiError for an error."""
    check(answer)
    if answer.body is None:
        return no_content()
    return reply(answer.body, status=answer.status, headers={"Link": answer.link} if answer.link else None)


def check(answer: Answer) -> Any:  # noqa: ANN401 - JSON
    """The body of an answer that is no error; raises ApiError for one."""
    if not answer.ok:
        message = (answer.body or {}).get("message", "")
        raise ApiError(answer.status, GITHUB_WORDS.get(message, message))
    return answer.body
