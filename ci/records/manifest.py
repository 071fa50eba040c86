"""The manifest, `tools.json`: what Toolsmith reads to find its image.

Toolsmith needs every key of the model but `version`, `size` and `qcow2_url`, which are ours, and ignores any other. The
file also holds what others wrote, so unknown keys are kept. What is allowed is said in `manifest_rules.py`; this is the
typed form of it, and manifests/tools.schema.json says as much of it as a schema can, for editors.
"""

import json

from pydantic import BaseModel, ConfigDict

from ci.records.manifest_rules import read_manifest


class ManifestImage(BaseModel):
    """The image. `tarball` and `sha256` are its container variant's; an empty string says that there is none.

    `qcow2` is a URL, a path, or a file name relative to the manifest's folder; `size` is its bytes. Before the first
    release there is no `qcow2`, and `version` is UNPUBLISHED. `qcow2_url` remembers where a bare file name came from.
    A manifest of the consumer's may lack our three keys.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    name: str
    tarball: str
    sha256: str
    qcow2: str
    qcow2_sha256: str
    version: str = ""
    size: int = 0
    qcow2_url: str = ""


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
    return Manifest.model_validate(read_manifest(data, where))
