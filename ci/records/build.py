"""The build record, `<stem>.build.json`: what was built, from what, by what."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from ci.host.progress import StepTime
from ci.records.record import Part, Record, Sha256


class Verification(StrEnum):
    """Who vouches for the base image."""

    PINNED_DIGEST = "pinned-digest"
    SIGNED_CHECKSUMS = "signed-checksums"
    SIGNED_PACKAGES = "signed-packages"
    NONE = "none"


class BaseImageRecord(Part):
    """The base image. `verified_by` is the digest's source, or the key's fingerprint."""

    url: str
    sha256: Sha256
    size: int
    verification: Verification
    verified_by: str

    @property
    def vouched_for(self) -> str:
        """Who vouches for it and how, in words."""
        return {
            Verification.PINNED_DIGEST: f"its digest is pinned: {self.verified_by}",
            Verification.SIGNED_CHECKSUMS: f"its checksums are signed by {self.verified_by}",
            Verification.SIGNED_PACKAGES: f"its packages are signed: {self.verified_by}",
            Verification.NONE: "nothing vouches for it",
        }[self.verification]


class ArtifactRecord(Part):
    """The image file; sizes in bytes."""

    file: str
    sha256: Sha256
    size: int
    virtual_size: int


class Driver(StrEnum):
    """Whether a kernel has a driver: in itself, as a module, or not at all."""

    BUILT_IN = "built-in"
    MODULE = "module"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PackageStep:
    """What becomes of one of the base's packages; a version is '' where the package is not there."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    before: str
    after: str


class BuildRecord(Record):
    """`definition_sha256` is one digest over all of `inputs`, the repository's files that decide what the image is.

    `inputs` has each file's own digest by its path, `transaction` what became of the base's packages, `drivers` what
    the kernel has of those that a start needs.
    """

    schema_: Literal["fountainkit-toolsmith-image/build/1"] = Field(
        default="fountainkit-toolsmith-image/build/1", alias="schema"
    )
    name: str
    version: str
    definition: str
    definition_sha256: Sha256
    inputs: dict[str, Sha256]
    distribution: str
    commit: str
    dirty: bool
    built_at: datetime
    base: BaseImageRecord
    image: ArtifactRecord
    packages: int
    transaction: list[PackageStep]
    kernel: str
    drivers: dict[str, Driver]
    authorized_keys: list[str]
    accelerator: str
    tools: dict[str, str]
    steps: list[StepTime]
    seconds: float
    peak_memory: int
