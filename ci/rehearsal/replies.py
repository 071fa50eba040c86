"""GitHub's way to refuse: a status, a message, and for most 422s a list of what is wrong with which field."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from aiohttp import web

Json: TypeAlias = dict[str, Any]

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
        documentation: str = REST_DOCUMENTATION,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"message": message, **(extra or {})}
        if errors:
            self.body["errors"] = list(errors)
        self.body["documentation_url"] = documentation
        if not extra:
            # The API proper repeats the status in the body, the upload host does not.
            self.body["status"] = str(status)
        self.headers = dict(headers or {})

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


def invalid(*errors: Json, documentation: str = REST_DOCUMENTATION) -> ApiError:
    """422 "Validation Failed" with its reasons.

    Its form: https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api#validation-failed, schema
    `validation-error` of GitHub's OpenAPI description.
    """
    return ApiError(422, "Validation Failed", errors=errors, documentation=documentation)


def problem(resource: str, field: str, code: str, message: str | None = None) -> Json:
    """One entry of `errors`; only code `custom` comes with a message."""
    found: Json = {"resource": resource, "code": code}
    if field:
        found["field"] = field
    if message is not None:
        found["message"] = message
    return found
