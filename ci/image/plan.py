"""Everything a build needs to know, gathered before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

from ci.host.repository import Revision
from ci.image.authorized_keys import AuthorizedKey
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import GIB, Definition
from ci.records.record import Record, Sha256


class ImageIdentity(Record):
    """`/etc/fountainkit/image.json`: how a running guest knows which image it is."""

    schema_: Literal["fountainkit-toolsmith-image/identity/1"] = Field(
        default="fountainkit-toolsmith-image/identity/1", alias="schema"
    )
    name: str
    version: str
    commit: str
    built_at: datetime
    base_sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One build. `cache` is shared by all; without `use_layers` what an earlier one left there is not used."""

    definition: Definition
    definition_name: str
    definition_sha256: str
    inputs: Mapping[str, str]
    version: str
    revision: Revision
    built_at: datetime
    base: VerifiedBase
    keys: tuple[AuthorizedKey, ...]
    output: Path
    cache: Path
    use_layers: bool

    @property
    def stem(self) -> str:
        """The name all artifacts share."""
        return self.definition.stem(self.version)

    @property
    def disk_bytes(self) -> int:
        """The size of the virtual disk."""
        return self.definition.disk.size_gib * GIB

    @property
    def identity(self) -> ImageIdentity:
        """What the image says of itself."""
        return ImageIdentity(
            name=self.stem,
            version=self.version,
            commit=self.revision.commit,
            built_at=self.built_at,
            base_sha256=self.base.sha256,
        )
