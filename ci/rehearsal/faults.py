"""Faults on command: what a client may meet on its way to GitHub, at exactly the request that a test asks for."""

import asyncio
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web
from aiohttp.typedefs import Handler

from ci.rehearsal.exchanges import FAULT, UNANSWERED, UPLOADS
from ci.rehearsal.replies import ApiError

POLL_SECONDS = 0.01
# https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit; the wording
# of the secondary limit as in https://github.com/app-sre/github-mirror/pull/62
SECONDARY_LIMIT = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
PRIMARY_LIMIT = "API rate limit exceeded for user ID 1."

INSTEAD = web.RequestKey("instead", web.StreamResponse)
LEAVES_STARTER = web.RequestKey("leaves_starter", bool)


class Effect(StrEnum):
    """What goes wrong.

    `starter` is the wreck of GitHub's description of an upload: 502, and an empty asset stays behind in state
    `starter`. A `hang` lasts until the client gives up, a `pause` until the test has decided.
    """

    BAD_GATEWAY = "502"
    RESET = "connection reset"
    HANG = "hang"
    PAUSE = "pause"
    SECONDARY_LIMIT = "403 secondary limit"
    PRIMARY_LIMIT = "403 primary limit"
    TOO_MANY_REQUESTS = "429"
    PAGE = "200 page"
    DEEP = "200 deep"
    ELSEWHERE = "302 elsewhere"
    CIRCLE = "301 circle"
    STARTER = "502 starter"


class Moment(StrEnum):
    """When: the server has not acted, half of an upload has arrived, or it has acted and the answer is lost."""

    BEFORE = "before"
    MIDWAY = "midway"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Befalls the `call`-th request that matches, counted from when it is armed, and the `times - 1` after it.

    `path` is a regular expression searched in the path; without it and `method` every request matches, so that
    `call` is the place in the whole sequence; a wreck, and what happens midway, befall uploads only. `seconds` is how
    long a rate limit lasts.
    """

    effect: Effect
    moment: Moment = Moment.BEFORE
    method: str | None = None
    path: str = ""
    call: int = 1
    times: int = 1
    seconds: int = 1

    def matches(self, request: web.Request) -> bool:
        path = request.rel_url.raw_path
        for_uploads = self.moment is Moment.MIDWAY or self.effect is Effect.STARTER
        if for_uploads and not path.startswith(UPLOADS):
            return False
        return self.method in (None, request.method) and re.search(self.path, path) is not None


@dataclass(slots=True)
class Armed:
    """A fault that waits for its request. `reached` is set when it fires.

    A request in a pause goes on after `proceed()`; after `drop()`, or when its client is gone, it is cut off.
    """

    fault: Fault
    seen: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    _proceeds: bool | None = None

    def proceed(self) -> None:
        self._proceeds = True

    def drop(self) -> None:
        self._proceeds = False

    async def befall(self, request: web.Request) -> None:
        """Let it happen. Unless the request goes on as if nothing had been, INSTEAD is what it is answered."""
        effect = self.fault.effect
        request[FAULT] = f"{effect} {self.fault.moment}"
        self.reached.set()
        if effect in {Effect.PAUSE, Effect.HANG}:
            # That a client is gone is no event, so it is looked for; as far as it is known without reading.
            while self._proceeds is None and request.transport and not request.transport.is_closing():  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
        if effect is Effect.PAUSE and self._proceeds:
            return
        cut = effect in {Effect.PAUSE, Effect.HANG, Effect.RESET}
        request[INSTEAD] = _cut(request) if cut else _strange(effect, request) or _refusal(self.fault).response()


# On an upload: what is to befall it when it is half through.
MIDWAY = web.RequestKey("midway", Armed)


class Faults:
    """The faults that are armed."""

    def __init__(self) -> None:
        # Replaced as a whole, never changed: tests arm in their own thread.
        self._armed: tuple[Armed, ...] = ()

    def arm(self, fault: Fault) -> Armed:
        armed = Armed(fault)
        self._armed += (armed,)
        return armed

    def clear(self) -> None:
        """Disarm all of them; what hangs or pauses is cut off."""
        disarmed, self._armed = self._armed, ()
        for armed in disarmed:
            armed.drop()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        armed = self._next(request)
        if armed is None:
            return await handler(request)
        answer: web.StreamResponse | None = None
        if armed.fault.moment is Moment.MIDWAY:
            request[MIDWAY] = armed
        if armed.fault.effect is Effect.STARTER:
            request[LEAVES_STARTER] = True
        if armed.fault.moment is not Moment.BEFORE or armed.fault.effect is Effect.STARTER:
            answer = await handler(request)
        if armed.fault.moment is not Moment.MIDWAY:
            await armed.befall(request)
        return request.get(INSTEAD) or answer or await handler(request)

    def _next(self, request: web.Request) -> Armed | None:
        matching = [armed for armed in self._armed if armed.fault.matches(request)]
        for armed in matching:
            armed.seen += 1
        return next((one for one in matching if 0 <= one.seen - one.fault.call < one.fault.times), None)


def _strange(effect: Effect, request: web.Request) -> web.Response | None:
    """A complete answer that is none of GitHub's: of a login page, a broken proxy, a server that moved."""
    match effect:
        case Effect.PAGE:
            return web.Response(text="<!doctype html><title>Sign in</title>", content_type="text/html")
        case Effect.DEEP:
            return web.Response(text="[" * 10_000, content_type="application/json")
        case Effect.ELSEWHERE:
            return web.Response(status=302, headers={"Location": "http://elsewhere.invalid/"})
        case Effect.CIRCLE:
            return web.Response(status=301, headers={"Location": str(request.url)})
        case _:
            return None


def _refusal(fault: Fault) -> ApiError:
    match fault.effect:
        case Effect.SECONDARY_LIMIT | Effect.TOO_MANY_REQUESTS:
            status = 429 if fault.effect is Effect.TOO_MANY_REQUESTS else 403
            return ApiError(status, SECONDARY_LIMIT, headers={"Retry-After": str(fault.seconds)})
        case Effect.PRIMARY_LIMIT:
            headers = {
                "X-RateLimit-Limit": "5000",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Used": "5000",
                "X-RateLimit-Reset": str(int(time.time()) + fault.seconds),
                "X-RateLimit-Resource": "core",
            }
            return ApiError(403, PRIMARY_LIMIT, headers=headers)
        case _:
            return ApiError(502, "Server Error")


def _cut(request: web.Request) -> web.Response:
    """Reset the connection. What is returned goes nowhere; aiohttp wants something."""
    request[UNANSWERED] = True
    if request.transport is not None:
        # Closed with SO_LINGER 0 a connection ends with RST instead of FIN: socket(7).
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()
