"""Whether an exchange is one that GitHub's own OpenAPI description allows."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jsonschema.protocols import Validator
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from referencing import Registry
from referencing.jsonschema import DRAFT4

from ci.rehearsal.exchanges import Exchange

DESCRIPTION = Path(__file__).parent / "api/description.json"
DOCUMENT = "urn:github"
UPLOADS = "/api/uploads"
UPLOAD_HOST = "uploads.github.com"
API = re.compile(rf"^({UPLOADS})?/(repos/|user$|rate_limit$)")
# These parameters take slashes.
LONG = {"basehead", "path", "ref"}
# Refusals that any call may meet, listed for it or not: https://docs.github.com/rest/using-the-rest-api/
# troubleshooting-the-rest-api, and the way to a renamed repository: .../best-practices-for-using-the-rest-api
REFUSALS = {301, 307, 400, 401, 403, 404, 422, 429, 500, 502, 503}
WITHOUT_BODY = {204, 302, 304}


@dataclass(frozen=True, slots=True)
class Call:
    """One operation: where it is in the description, and the paths it is called by."""

    method: str
    template: str
    operation: Mapping[str, Any]
    pattern: re.Pattern[str]

    @property
    def uploads(self) -> bool:
        return any(urlsplit(server["url"]).hostname == UPLOAD_HOST for server in self.operation.get("servers", ()))


def findings(exchange: Exchange) -> list[str]:
    """What is wrong with an exchange, nothing for one that is no call of the API or got no answer."""
    if not API.match(exchange.path) or exchange.status is None:
        return []
    call = find_call(exchange)
    where = f"{exchange.method} {exchange.path} {exchange.status}"
    if call is None:
        return [f"{where}: GitHub's API has no such call"]
    found = [*_query(call, exchange), *_request(call, exchange), *_response(call, exchange)]
    return [f"{where}: {message}" for message in found]


def find_call(exchange: Exchange) -> Call | None:
    path = exchange.path.removeprefix(UPLOADS)
    uploads = path != exchange.path
    fitting = (
        call
        for call in _calls()
        if call.method == exchange.method.lower() and call.uploads == uploads and call.pattern.fullmatch(path)
    )
    return next(fitting, None)


def _query(call: Call, exchange: Exchange) -> Iterator[str]:
    known = dict(_query_parameters(call))
    for name, value in exchange.query.items():
        if name not in known:
            yield f"unknown query parameter {name}"
        elif known[name]["schema"].get("type") != "integer":
            yield from _errors(known[name]["schema"], value, f"query parameter {name}")
        elif not value.isdecimal():
            yield f"query parameter {name}: {value!r} is no integer"
    for name, parameter in known.items():
        if parameter.get("required") and name not in exchange.query:
            yield f"query parameter {name} is missing"


def _query_parameters(call: Call) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for parameter in call.operation.get("parameters", ()):
        resolved = _resolved(parameter)
        if resolved["in"] == "query":
            yield resolved["name"], resolved


def _request(call: Call, exchange: Exchange) -> Iterator[str]:
    content = _resolved(call.operation.get("requestBody", {})).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    body = exchange.request_body
    if schema is None:
        if body not in (None, {}) and not call.uploads:
            yield "takes no request body"
        return
    if body is None and not call.operation["requestBody"].get("required"):
        return
    yield from _errors(schema, body, "request body")
    unknown = set(body) - set(schema.get("properties", body)) if isinstance(body, dict) else set()
    for name in sorted(unknown):
        yield f"request body: unknown field {name}"


def _response(call: Call, exchange: Exchange) -> Iterator[str]:
    documented = _resolved(call.operation["responses"].get(str(exchange.status)))
    if documented is None and exchange.status not in REFUSALS:
        yield "undocumented status"
        return
    if exchange.status in WITHOUT_BODY:
        if exchange.response_body is not None:
            yield "answer has a body"
        return
    content = (documented or {}).get("content", {})
    schema = content.get("application/json", {}).get("schema") or {"$ref": f"#/components/schemas/{_refusal(exchange)}"}
    yield from _errors(schema, exchange.response_body, "answer")


def _refusal(exchange: Exchange) -> str:
    listed = isinstance(exchange.response_body, dict) and "errors" in exchange.response_body
    return "validation-error" if listed else "basic-error"


def _errors(schema: Mapping[str, Any], value: Any, what: str) -> Iterator[str]:  # noqa: ANN401 - JSON
    # Given as a document of its own, its references would lead nowhere.
    for error in _validator(json.dumps(_absolute(schema))).iter_errors(value):
        yield f"{what}{error.json_path.removeprefix('$')}: {error.message[:300]}"


@cache
def _validator(schema: str) -> Validator:
    made: Validator = OAS30Validator(json.loads(schema), registry=_registry(), format_checker=oas30_format_checker)
    return made


@cache
def _registry() -> Registry[Any]:
    described = DRAFT4.create_resource(_absolute(_description()))
    registry: Registry[Any] = Registry().with_resource(DOCUMENT, described)
    return registry


def _absolute(value: Any) -> Any:  # noqa: ANN401 - JSON
    match value:
        case {"$ref": str(target)}:
            return {"$ref": target if target.startswith(DOCUMENT) else DOCUMENT + target}
        case {"oneOf": choices, "discriminator": _}:
            # JSON Schema does not know what tells these apart, and more than one may fit.
            return {"anyOf": _absolute(choices)}
        case dict():
            return {name: _absolute(part) for name, part in value.items()}
        case list():
            return [_absolute(part) for part in value]
        case _:
            return value


@cache
def _description() -> dict[str, Any]:
    """The description, with what only its prose tells."""
    loaded: dict[str, Any] = json.loads(DESCRIPTION.read_bytes())
    # "This may leave an empty asset with a state of starter"; the schema lists `uploaded` and `open`.
    loaded["components"]["schemas"]["release-asset"]["properties"]["state"]["enum"].append("starter")
    # A label's description is null in `pull-request`, and in what GitHub sends: @octokit/fixtures 23.1.2, labels.
    label = loaded["components"]["schemas"]["pull-request-simple"]["properties"]["labels"]["items"]
    label["properties"]["description"]["nullable"] = True
    # "You can also pass an array of labels directly."
    labels = loaded["paths"]["/repos/{owner}/{repo}/issues/{issue_number}/labels"]["post"]["requestBody"]
    labels["content"]["application/json"]["schema"]["oneOf"].append({"type": "array", "items": {"type": "string"}})
    return loaded


@cache
def _calls() -> tuple[Call, ...]:
    """Those with fewer parameters first, so that `/releases/latest` is not taken for an id."""
    found = [
        Call(method, template, operation, _pattern(template))
        for template, methods in _description()["paths"].items()
        for method, operation in methods.items()
    ]
    return tuple(sorted(found, key=lambda call: call.template.count("{")))


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile(
        "".join(
            re.escape(part) if number % 2 == 0 else (".+" if part in LONG else "[^/]+")
            for number, part in enumerate(parts)
        )
    )


def _resolved(value: Any) -> Any:  # noqa: ANN401 - JSON
    """A parameter, a body or a response, wherever it is kept."""
    if isinstance(value, dict) and "$ref" in value:
        kind, name = value["$ref"].removeprefix("#/components/").split("/")
        return _description()["components"][kind][name]
    return value
