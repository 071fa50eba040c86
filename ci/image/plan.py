"""Everything a build needs to know, gathered before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ci.image.authorized_keys import AuthorizedKey
from ci.image.base.base_image import VerifiedBase
from ci.image.definition import GIB, Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The repository's files that decide what the image is."""

    guest: Path
    provision: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One build. `cache` is shared by all; without `use_layers` what an earlier one left there is not used.

    `releases` is the folder with the records of what was released.
    """

    definition: Definition
    definition_name: str
    definition_sha256: str
    inputs: Mapping[str, str]
    version: str
    commit: str
    dirty: bool
    built_at: datetime
    base: VerifiedBase
    keys: tuple[AuthorizedKey, ...]
    sources: Sources
    releases: Path
    output: Path
    cache: Path
    use_layers: bool = True

    @property
    def stem(self) -> str:
        """The name all artifacts share."""
        return self.definition.stem(self.version)

    @property
    def disk_bytes(self) -> int:
        """The size of the virtual disk."""
        return self.definition.disk.size_gib * GIB
