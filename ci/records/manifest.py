"""The manifest, `tools.json`: what Toolsmith reads to find its image.

Toolsmith needs every key of the model but `version`, `size` and `qcow2_url`, which are ours, and ignores any other. The
file also holds what others wrote, so unknown keys are kept. What is allowed is said once, in `manifest_rules.py`; this
is the typed form of it. Run as a module it writes the JSON Schema.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from ci.host.files import write_atomic
from ci.records import manifest_rules as rules
from ci.records.manifest_rules import MAX_BYTES, UNPUBLISHED

__all__ = ["MAX_BYTES", "SCHEMA_PATH", "UNPUBLISHED", "Manifest", "ManifestImage", "parse_manifest", "schema_text"]

SCHEMA_PATH = Path(__file__).parents[2] / "manifests" / "tools.schema.json"

_REFERENCE = {
    "type": "string",
    "maxLength": rules.MAX_REFERENCE,
    "not": {"pattern": rf"[\\{rules.UNSEEN}]|(^|/)\.\.(/|$)"},
}


def _web_pattern(schemes: tuple[str, ...]) -> str:
    return rf"^({'|'.join(schemes)})://[^/?# ]+/([^?# ]*/)?([^/?#. ]|\.[^/?# ])[^/?# ]*([?#][^ ]*)?$"


# The rules, as far as a schema can say them: patterns do not decode `%2e`.
Digest = Annotated[str, WithJsonSchema({"type": "string", "pattern": rules.DIGEST})]
Folder = Annotated[str, WithJsonSchema({"type": "string", "pattern": rules.FOLDER, "maxLength": rules.MAX_NAME})]
Reference = Annotated[
    str,
    WithJsonSchema(
        {
            **_REFERENCE,
            "anyOf": [
                {"const": ""},
                {"pattern": _web_pattern(rules.SCHEMES)},
                {"pattern": r"^(?![A-Za-z][A-Za-z0-9+.-]*:)(.*/)?([^/.]|\.[^/])[^/]*$"},
            ],
        }
    ),
]
WebReference = Annotated[
    str, WithJsonSchema({**_REFERENCE, "anyOf": [{"const": ""}, {"pattern": _web_pattern(rules.WEB_SCHEMES)}]})
]
ImageVersion = Annotated[str, WithJsonSchema({"type": "string", "pattern": rules.VERSION})]


class ManifestImage(BaseModel):
    """The image. `tarball` and `sha256` are its container variant's; an empty string says that there is none.

    `qcow2` is a URL, a path, or a file name relative to the manifest's folder; `size` is its bytes. Before the first
    release there is no `qcow2`, and `version` is UNPUBLISHED. `qcow2_url` remembers where a bare file name came from.
    A manifest of the consumer's may lack our three keys.
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
    size: Annotated[int, Field(ge=0, le=rules.MAX_SIZE)] = 0
    qcow2_url: WebReference = ""

    @model_validator(mode="before")
    @classmethod
    def _keeps_to_the_rules(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic's signature
        if isinstance(data, dict) and (findings := list(rules.image_findings(data))):
            raise ValueError("; ".join(findings))
        return data


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
    return Manifest.model_validate(rules.read_manifest(data, where))


def schema_text() -> str:
    """The JSON Schema of a manifest, as it stands in manifests/tools.schema.json."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    write_atomic(SCHEMA_PATH, schema_text())
