"""What becomes of the base's packages: decided and fetched before the appliance starts, by ci/image/packages/apt.py."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ci.host.workspace import exclusive, work_folder
from ci.image.definition import Packages
from ci.image.disk.root_files import RootFiles
from ci.image.packages import dpkg
from ci.image.packages.apt import FACT_FILES, FACT_FOLDERS, Apt, Choice, forget_unused
from ci.image.packages.kernels import kernels, module_lists
from ci.image.packages.requirements import Requirements, programs, require_met

FACT_BYTES = 64 << 20
# Goes up when what is kept of a base changes.
FACTS_VERSION = 2


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What a base says about its packages, kept in `cache` by the base's digest: sources, keys, what is installed."""

    cache: Path
    base_sha256: str

    @property
    def path(self) -> Path:
        """The folder, in which each file has the place it has in the base."""
        return self.cache / "apt" / "facts" / f"{self.base_sha256}-{FACTS_VERSION}"

    def read(self, files: RootFiles) -> None:
        """Read them from the base."""
        found_in = files.names(FACT_FOLDERS).items()
        paths = [*FACT_FILES, *(f"{folder}/{name}" for folder, names in found_in for name in names)]
        kept = self.path.parent
        with work_folder(kept) as work:
            found = work / "facts"
            _copy(files, paths, found)
            _copy(files, module_lists(kernels(dpkg.installed(found))), found)
            with exclusive(kept / ".lock"):
                if not self.path.exists():  # another build may have read the same base meanwhile
                    found.rename(self.path)
                forget_unused(kept.glob("[0-9a-f]*"))

    def choose(self, packages: Packages, requirements: Requirements) -> Choice:
        """Plan what becomes of the packages, and fetch what that needs into the cache.

        Raises BaseImageError, FetchError, VerificationError, or BuildError where the plan is not allowed or impossible.
        """
        os.utime(self.path)  # what is used stays
        dpkg.require_buildable(self.path, programs(requirements))
        folder = self.cache / "apt"
        with exclusive(folder / ".lock"):  # apt's lists and files have one user at a time
            apt = Apt(folder / self.base_sha256[:16], self.path, self.cache / "packages")
            forget_unused(folder.glob("[0-9a-f]" * 16))
            apt.update()
            transaction = apt.choose(packages)
            require_met(requirements, apt.versions(transaction))
            return apt.fetch(transaction)


def _copy(files: RootFiles, paths: Iterable[str], target: Path) -> None:
    """Copy files of a base to their places below `target`."""
    for path, content in files.read(paths, limit=FACT_BYTES, total=2 * FACT_BYTES).items():
        copy = target / path.strip("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
