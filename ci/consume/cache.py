"""The cache that Toolsmith looks in: `<workspace>/.toolsmith/cache/<image.name>/<qcow2_sha256>/<file>`.

Runs on Python 3.10 too, for consumers of the image.
"""

import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ci.consume.wanted import Wanted
from ci.host.errors import HostError
from ci.host.files import sha256_file
from ci.host.progress import Reporter

FOLDER = Path(".toolsmith", "cache")
LOCK = ".ensure-vm.lock"

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Condition(Enum):
    """How an image is in the cache."""

    ABSENT = "absent"
    CORRUPT = "corrupt"
    VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Cache:
    """The cache of a workspace."""

    folder: Path

    @classmethod
    def of(cls, workspace: Path) -> "Cache":
        """The cache that Toolsmith uses in a workspace."""
        return cls(workspace.absolute() / FOLDER)

    @property
    def lock(self) -> Path:
        """What a run that changes the cache holds."""
        return self.folder / LOCK

    def path(self, wanted: Wanted) -> Path:
        """Where the image belongs."""
        return self.folder / wanted.name / wanted.sha256 / wanted.file

    def examine(self, wanted: Wanted, reporter: Reporter) -> Condition:
        """Look at the image, reading it once; raises HostError where something is in its place, or cannot be read."""
        path = self.path(wanted)
        try:
            if not path.exists():
                return Condition.CORRUPT if path.is_symlink() else Condition.ABSENT
            if not path.is_file():
                raise HostError(f"{path} is in the way: it is not a file", hint="Move it away.")
            size = path.stat().st_size
            if wanted.size is not None and size != wanted.size:
                return Condition.CORRUPT
            with reporter.transfer(f"verify {path.name}", size) as advance:
                good = sha256_file(path, advance) == wanted.sha256
        except OSError as error:
            raise HostError(
                f"{path} cannot be read: {error.strerror}", hint="Check the permissions of the folders of the cache."
            ) from error
        return Condition.VERIFIED if good else Condition.CORRUPT

    def prune(self, wanted: Wanted, reporter: Reporter) -> list[Path]:
        """Remove the folders of all other digests of this image, and tell which; the wanted one stays."""
        removed: list[Path] = []
        for folder in sorted((self.folder / wanted.name).iterdir()):
            old = folder.name != wanted.sha256 and _DIGEST.fullmatch(folder.name)
            if old and folder.is_dir() and not folder.is_symlink():
                try:
                    shutil.rmtree(folder)
                except OSError as error:
                    raise HostError(
                        f"{error.filename or folder} cannot be removed: {error.strerror}", hint="Check its owner."
                    ) from error
                reporter.note(f"removed {folder}")
                removed.append(folder)
        return removed

    def forget_empty(self, wanted: Wanted) -> None:
        """Remove the image's folders where nothing is in them."""
        with suppress(OSError):
            self.path(wanted).parent.rmdir()
            self.path(wanted).parent.parent.rmdir()
