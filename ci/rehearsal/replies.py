"""How GitHub answers: JSON, lists in pages, and refusals that for most 422s list what is wrong with which field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from aiohttp import web

Json: TypeAlias = dict[str, Any]
ItemT = TypeVar("ItemT")

DEFAULT_PER_PAGE = 30
MAX_PER_PAGE = 100


@dataclass(slots=True)
class Quirks:
    """How another GitHub than today's answers.

    `digests` is False for an older GitHub Enterprise Server, which tells none of assets: https://github.com/github/
    roadmap/issues/1136. A page may be shorter than asked for, and `Link` alone tells where a list ends:
    https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
    """

    digests: bool = True
    longest_page: int = MAX_PER_PAGE


QUIRKS = web.AppKey("quirks", Quirks)
REST_DOCUMENTATION = "https://docs.github.com/rest"
# https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api#media-types
MEDIA_TYPE = "application/json; charset=utf-8"


class ApiError(Exception):
    """A request that GitHub would not fulfil; becomes the answer to it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        errors: Sequence[Json] = (),
        headers: Mapping[str, str] | None = None,
        request_id: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})
        self.body: Json = {"message": message, "documentation_url": REST_DOCUMENTATION}
        if errors:
            self.body["errors"] = list(errors)
        if url:
            self.body["url"] = url
        # The API proper repeats the status in the body, the upload host tells the request instead.
        self.body |= {"request_id": request_id} if request_id else {"status": str(status)}

    def response(self) -> web.Response:
        return reply(self.body, status=self.status, headers=self.headers)


def reply(body: Json | list[Json], *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer as GitHub sends it."""
    response = web.json_response(body, status=status, headers=headers)
    response.headers["Content-Type"] = MEDIA_TYPE
    return response


def no_content() -> web.Response:
    return web.Response(status=204)


def not_found() -> ApiError:
    return ApiError(404, "Not Found")


def invalid(*errors: Json) -> ApiError:
    """422 "Validation Failed" with its reasons.

    Its form: https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed, schema
    `validation-error` of GitHub's OpenAPI description.
    """
    return ApiError(422, "Validation Failed", errors=errors)


def problem(resource: str, field: str, code: str, message: str | None = None) -> Json:
    """One entry of `errors`; only code `custom` comes with a message."""
    found: Json = {"resource": resource, "code": code}
    if field:
        found["field"] = field
    if message is not None:
        found["message"] = message
    return found


def page_of(request: web.Request, items: Sequence[ItemT]) -> tuple[Sequence[ItemT], dict[str, str]]:
    """The page that is asked for, and the headers that go with it.

    https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api
    """
    size = page_size(request)
    page = max(_number(request, "page", 1), 1)
    last = max(-(-len(items) // size), 1)
    places = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
    links = [
        f'<{request.url.update_query(page=str(number))}>; rel="{name}"'
        for name, number in places.items()
        if (page < last if name in {"next", "last"} else page > 1)
    ]
    return items[(page - 1) * size : page * size], {"Link": ", ".join(links)} if links else {}


def page_size(request: web.Request) -> int:
    return min(max(_number(request, "per_page", DEFAULT_PER_PAGE), 1), request.app[QUIRKS].longest_page)


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() else default
