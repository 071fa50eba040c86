"""The difference between two images, however they are known: as builds, as releases, by their package lists alone."""

from typing import Literal

from pydantic import Field

from ci.records.packages import Growth, PackageDiff
from ci.records.record import Part, Record, Sha256
from ci.records.validation import Outcome


class Facts(Part):
    """What is known of one image. `source` is how it was named; None where that does not tell.

    `image_bytes` is the size of the image file, `accelerator` what it was boot-tested with.
    """

    source: str
    name: str | None = None
    version: str | None = None
    commit: str | None = None
    base_url: str | None = None
    base_sha256: Sha256 | None = None
    kernel: str | None = None
    image_bytes: int | None = None
    accelerator: str | None = None


class SetChanges(Part):
    """What became of things that have a name, each part sorted; `changed` are in both and differ."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """What is not empty, by what became of it."""
        parts = {"added": self.added, "removed": self.removed, "changed": self.changed}
        return {what: names for what, names in parts.items() if names}

    @property
    def empty(self) -> bool:
        """True where both sides are the same."""
        return not self.parts


class CheckChange(Part):
    """A check of the boot test that ends otherwise than before; None where the report does not have it."""

    boot: str
    id: str
    old: Outcome | None
    new: Outcome | None


class BootChange(Part):
    """Seconds from QEMU's start to SSH, of a boot that both were tested with."""

    boot: str
    old: float
    new: float


class Difference(Record):
    """What is None could not be compared, because one side does not tell it.

    `definition_changed` tells whether any file of the configuration differs, `files` which ones, as far as contents go;
    `keys` are the fingerprints of the keys that may log in. `boots` is also None where the accelerators differ.
    `same` is true where nothing that could be compared differs; sizes and times, which vary by themselves, aside.
    """

    schema_: Literal["fountainkit-toolsmith-image/difference/1"] = Field(
        default="fountainkit-toolsmith-image/difference/1", alias="schema"
    )
    same: bool
    old: Facts
    new: Facts
    packages: PackageDiff | None
    growth: tuple[Growth, ...]
    definition_changed: bool | None
    files: SetChanges | None
    keys: SetChanges | None
    checks: tuple[CheckChange, ...] | None
    boots: tuple[BootChange, ...] | None
