"""The release record, `releases/<tag>.json`: what one release published, what it was made from, and its evidence.

Run as a module it writes the JSON Schema.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field

from ci.host.files import write_atomic
from ci.records.build import BaseImageRecord
from ci.records.packages import PackageDiff
from ci.records.record import Part, Record, Sha256
from ci.records.validation import StartPart

# How a manifest names an image: by the address of its file, or by the file's name, with the address beside it.
Form = Literal["url", "file"]

_NO_CONTAINER: dict[str, str | int] = {"name": "", "tarball": "", "sha256": "", "qcow2": ""}
SCHEMA_PATH = Path(__file__).parents[2] / "releases" / "release.schema.json"

# A name that leads to no other folder, wherever the file is put.
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")]

# Records come from anywhere: what nobody could show, or fetch, is none.
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=1 << 50)]
WebAddress = Annotated[str, Field(pattern=r"^https?://[^/?#@\s\\]+(/[^\s\\]*)?$")]
RepositoryName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$")]
CommitSha = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


class AssetRecord(Part):
    """A file of the release, as anybody can fetch it; `size` in bytes."""

    name: FileName
    sha256: Sha256
    size: Count
    url: WebAddress


class AttestationRecord(Part):
    """What the workflow that built an image had signed: `url` is where GitHub's API has it, by the image's digest.

    `predicates` are the types of what is claimed. https://docs.github.com/rest/repos/attestations
    """

    url: WebAddress
    predicates: list[str]

    @property
    def repository(self) -> str:
        """The name that it is signed with: the repository may have another one since. Empty if it is none of ours."""
        found = re.search(r"/repos/([^/]+/[^/]+)/attestations/", self.url)
        return found[1] if found else ""


class ValidationSummary(Part):
    """What the boot test of an image came to; `ssh_seconds` by the name of the boot, `accelerator` tells how it ran.

    `start` is where the time of one start went; releases of before 2026-11-28 do not tell.
    """

    passed: Count
    skipped: Count
    accelerator: str
    ssh_seconds: dict[str, Seconds]
    start: tuple[StartPart, ...] = ()


class SizePart(Part):
    """A package, or several small ones, and what it takes in the image."""

    name: str
    kib: Count


class ImageRelease(Part):
    """One image of a release: its definition, base and packages, and its files; `qcow2` is one of `assets`.

    `attestation` is None where the image was published without one. `largest` are its packages by their size, the rest
    as one; releases of before 2026-11-28 do not tell.
    """

    name: str
    definition: str
    definition_sha256: Sha256
    inputs: dict[str, Sha256]
    distribution: str
    built_at: AwareDatetime
    base: BaseImageRecord
    kernel: str
    packages: Count
    qcow2: AssetRecord
    virtual_size: Count
    assets: list[AssetRecord]
    validation: ValidationSummary
    attestation: AttestationRecord | None
    largest: tuple[SizePart, ...] = ()

    def file(self, ending: str) -> AssetRecord | None:
        """Its file whose name ends so, see ci/records/artifacts.py; None where it has none."""
        return next((asset for asset in self.assets if asset.name.endswith(ending)), None)


class ReleaseFacts(Part):
    """What a release says about the one before it, of the image that the manifest pointed to; `qcow2_size` in bytes."""

    tag: str
    url: WebAddress
    name: str
    base_url: str
    base_sha256: Sha256
    definition_sha256: Sha256
    inputs: dict[str, Sha256]
    qcow2_sha256: Sha256
    qcow2_size: Count
    kernel: str

    @classmethod
    def of(cls, record: "ReleaseRecord") -> Self:
        """The facts of a release, from its record."""
        image = record.image
        return cls(
            tag=record.tag,
            url=record.url,
            name=image.name,
            base_url=image.base.url,
            base_sha256=image.base.sha256,
            definition_sha256=image.definition_sha256,
            inputs=image.inputs,
            qcow2_sha256=image.qcow2.sha256,
            qcow2_size=image.qcow2.size,
            kernel=image.kernel,
        )


class ReleaseRecord(Record):
    """`image` is the one the manifest points to; `others` are further images of the same release.

    `previous` is the newest older release, None for the first; `changes` is what became of its packages, None where
    nothing could be compared; `run` is the workflow run that published it, None where it was published by hand.
    `ensure_vm` is the consumer's tool in one file, made from the same commit. `snippet` is a whole manifest in the form
    `file`; releases of before 2026-11-28 have none.
    """

    schema_: Literal["fountainkit-toolsmith-image/release/1"] = Field(
        default="fountainkit-toolsmith-image/release/1", alias="schema"
    )
    tag: str
    repository: RepositoryName
    url: WebAddress
    commit: CommitSha
    run: WebAddress | None
    previous: ReleaseFacts | None
    changes: PackageDiff | None
    image: ImageRelease
    others: list[ImageRelease]
    ensure_vm: AssetRecord
    snippet: AssetRecord | None = None

    @property
    def server(self) -> str:
        """The GitHub that it is of."""
        return self.url.removesuffix(f"/{self.repository}/releases/tag/{self.tag}")

    @property
    def home(self) -> str | None:
        """The repository's page; None where the release's own is not where GitHub has it."""
        server, found, _ = self.url.rpartition(f"/{self.repository}/releases/")
        return f"{server}/{self.repository}" if found else None

    @property
    def images(self) -> tuple[ImageRelease, ...]:
        """All images, the one of the manifest first."""
        return (self.image, *self.others)

    @property
    def assets(self) -> tuple[AssetRecord, ...]:
        """All files of the release but this record itself."""
        own = (self.ensure_vm,) if self.snippet is None else (self.ensure_vm, self.snippet)
        return (*(asset for image in self.images for asset in image.assets), *own)


def image_fields(record: ReleaseRecord, form: Form = "url") -> dict[str, str | int | None]:
    """What a release changes in a manifest, None for a key that goes; the container variant is not its business."""
    qcow2 = record.image.qcow2
    return {
        "name": record.image.name,
        "qcow2": qcow2.url if form == "url" else qcow2.name,
        "qcow2_sha256": qcow2.sha256,
        "version": record.tag,
        "size": qcow2.size,
        "qcow2_url": None if form == "url" else qcow2.url,
    }


def manifest_image(record: ReleaseRecord, form: Form = "url") -> dict[str, str | int]:
    """The whole image of a manifest that has no container variant, its keys in the order of manifests/tools.json."""
    fields = image_fields(record, form)
    return _NO_CONTAINER | {key: value for key, value in fields.items() if value is not None}


def whole_manifest(record: ReleaseRecord, form: Form) -> str:
    """A manifest for who has none yet."""
    return json.dumps({"image": manifest_image(record, form), "tools": {}, "operations": []}, indent=2) + "\n"


def manifest_snippet(record: ReleaseRecord) -> str:
    """That image as it stands in a manifest."""
    return json.dumps({"image": manifest_image(record)}, indent=2)


def schema_text() -> str:
    """The JSON Schema of a release record, as it stands in releases/release.schema.json."""
    schema = ReleaseRecord.model_json_schema(mode="serialization")
    # What has a default is left out there; but a record says which one it is.
    schema["required"] = ["schema", *schema["required"]]
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2) + "\n"


if __name__ == "__main__":
    write_atomic(SCHEMA_PATH, schema_text())
