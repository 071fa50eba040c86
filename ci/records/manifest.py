"""The manifest, `tools.json`: what Toolsmith reads to find its image.

Toolsmith needs every key of the model but `version` and `size`, which are ours, and ignores any other. The file also
holds what others wrote, so unknown keys are kept. Run as a module it writes the JSON Schema. This module runs on
Python 3.10 too: the tool that consumers run has to.
"""

import codecs
import json
import math
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from ci.host.errors import InputError
from ci.host.files import write_atomic

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_SIZE = 1 << 40
UNPUBLISHED = "unpublished"
SCHEMES = ("https", "http", "oci")
SCHEMA_PATH = Path(__file__).parents[2] / "manifests" / "tools.schema.json"

# Control characters, and those that hide or reorder the text around them.
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_MAX_REFERENCE = 2000


def _reachable(reference: str) -> str:
    """Refuse a reference that leads to no file, or out of the folder it is looked up in."""
    if not reference:
        return reference
    path = reference
    if scheme := _SCHEME.match(reference):
        if scheme[1] not in SCHEMES:
            raise ValueError(f"the scheme is none of {', '.join(SCHEMES)}")
        parts = urlsplit(reference)
        if not parts.hostname or parts.port == 0 or " " in reference:
            raise ValueError("it is not a complete URL")
        path = parts.path
    path = unquote(path)
    if re.search(rf"[\\{_UNSEEN}]", path):
        raise ValueError("the path has a character that no file name should have")
    segments = path.split("/")
    if ".." in segments or segments[-1] in {"", "."}:
        raise ValueError("the path does not lead to a file, or leads out of its folder")
    return reference


# What `_reachable` asks for, as far as patterns can say it: they do not decode `%2e`.
_REFERENCE_SCHEMA = {
    "type": "string",
    "maxLength": _MAX_REFERENCE,
    "not": {"pattern": rf"[\\{_UNSEEN}]|(^|/)\.\.(/|$)"},
    "anyOf": [
        {"const": ""},
        {"pattern": rf"^({'|'.join(SCHEMES)})://[^/?# ]+/([^?# ]*/)?([^/?#. ]|\.[^/?# ])[^/?# ]*([?#][^ ]*)?$"},
        {"pattern": r"^(?![A-Za-z][A-Za-z0-9+.-]*:)(.*/)?([^/.]|\.[^/])[^/]*$"},
    ],
}

Digest = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]
Folder = Annotated[str, StringConstraints(pattern=rf"^([^./\\{_UNSEEN}][^/\\{_UNSEEN}]*)?$", max_length=200)]
Reference = Annotated[
    str,
    StringConstraints(pattern=rf"^[^\\{_UNSEEN}]*$", max_length=_MAX_REFERENCE),
    AfterValidator(_reachable),
    WithJsonSchema(_REFERENCE_SCHEMA),
]
ImageVersion = Annotated[
    str,
    StringConstraints(pattern=rf"^({UNPUBLISHED}|v[0-9]{{4}}\.[0-9]{{2}}\.[0-9]{{2}}(\.[1-9][0-9]{{0,8}})?)?$"),
]


class ManifestImage(BaseModel):
    """The image. `tarball` and `sha256` are its container variant's; an empty string says that there is none.

    `qcow2` is a URL, a path, or a file name relative to the manifest's folder; `size` is its bytes. Before the first
    release there is no `qcow2`, and `version` is UNPUBLISHED. A manifest of the consumer's may lack our two keys.
    """

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="allow",
        json_schema_extra={
            "if": {"properties": {"qcow2": {"const": ""}}},
            "then": {
                "properties": {
                    "qcow2_sha256": {"const": ""},
                    "version": {"enum": ["", UNPUBLISHED]},
                    "size": {"const": 0},
                }
            },
            "else": {
                "properties": {
                    "name": {"minLength": 1},
                    "qcow2_sha256": {"minLength": 1},
                    "version": {"not": {"const": UNPUBLISHED}},
                    "size": {"minimum": 1},
                }
            },
        },
    )

    name: Folder
    tarball: Reference
    sha256: Digest
    qcow2: Reference
    qcow2_sha256: Digest
    version: ImageVersion = ""
    size: Annotated[int, Field(ge=0, le=MAX_SIZE)] = 0

    @model_validator(mode="after")
    def _whole_or_absent(self) -> "ManifestImage":
        if self.qcow2:
            given_empty = self.size == 0 and "size" in self.model_fields_set
            if not self.name or not self.qcow2_sha256 or self.version == UNPUBLISHED or given_empty:
                raise ValueError("there is a `qcow2`, but its name, digest, version or size says that there is none")
        elif self.qcow2_sha256 or self.version not in {"", UNPUBLISHED} or self.size:
            raise ValueError("there is no `qcow2`, but a digest, version or size of one")
        return self


class Manifest(BaseModel):
    """The whole file: the image, and the tools and operations that the consumer runs in it."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    image: ManifestImage
    tools: dict[str, str]
    operations: list[str]

    @property
    def published(self) -> bool:
        """True where there is an image to fetch; False in the manifest before the first release."""
        return bool(self.image.qcow2)

    def to_json(self) -> str:
        """Indented JSON with a final newline: the model's keys in its order, then any others; none that was not set."""
        return json.dumps(self.model_dump(exclude_unset=True), indent=2, ensure_ascii=False) + "\n"


def parse_manifest(data: bytes, where: str) -> Manifest:
    """The manifest in a file's bytes; raises InputError for what the consumer or a tool of ours could misread.

    `where` names the file in the error.
    """
    if len(data) > MAX_BYTES:
        raise _malformed(where, f"it has {len(data)} bytes, more than {MAX_BYTES}")
    if data.startswith(codecs.BOM_UTF8):
        raise _malformed(where, "it starts with a byte order mark")
    try:
        document = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite
        )
        _check_values(document)
    except UnicodeDecodeError as error:
        raise _malformed(where, f"byte {error.start} is not UTF-8") from error
    except RecursionError:
        raise _malformed(where, "it is nested too deeply") from None
    except ValueError as error:
        raise _malformed(where, str(error)) from error
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        findings = [
            f"{'.'.join(_named(part) for part in finding['loc']) or 'the document'}: {finding['msg']}"
            for finding in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise _malformed(where, findings[0], details="\n".join(findings)) from error


def schema_text() -> str:
    """The JSON Schema of a manifest, as it stands in manifests/tools.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {_named(twice)} comes twice in one object")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _check_values(document: object) -> None:
    """Refuse what JSON's grammar permits and others choke on: deep nesting, and halves of surrogate pairs."""
    values: list[tuple[object, int]] = [(document, 0)]
    while values:
        value, depth = values.pop()
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        if isinstance(value, dict):
            values += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            values += [(item, depth + 1) for item in value]
        elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError(f"{_named(value)} has half of a surrogate pair")


def _named(part: object) -> str:
    text = str(part)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else ascii(text[:100])


def _malformed(where: str, problem: str, details: str = "") -> InputError:
    hint = "manifests/README.md explains the keys, and manifests/tools.schema.json is the schema of such a file."
    return InputError(f"{where} is not a manifest: {problem}", hint=hint, details=details)


if __name__ == "__main__":
    write_atomic(SCHEMA_PATH, schema_text())
