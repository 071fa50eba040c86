"""What becomes of the base's packages: decided and fetched before the appliance starts, by ci/image/apt.py."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ci.host.workspace import exclusive, work_folder
from ci.image import archive
from ci.image.apt import FACT_FILES, FACT_FOLDERS, Apt, Transaction, Wish
from ci.image.definition import Packages
from ci.image.root_files import RootFiles

FACT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The packages of one build: what happens, the files for it, and the archive's own entries of them."""

    transaction: Transaction
    files: tuple[Path, ...]
    described: str

    def write_archive(self, image: Path, work: Path) -> None:
        """Write the disk from which the appliance installs them."""
        archive.make_archive(self.files, self.described, image, work)


class BaseFacts:
    """What a base says about its packages, kept in `cache` by the base's digest: sources, keys, what is installed."""

    def __init__(self, cache: Path, base_sha256: str) -> None:
        self._cache = cache
        self._folder = cache / "apt" / "facts"
        self._sha256 = base_sha256

    @property
    def path(self) -> Path:
        """The folder, in which each file has the place it has in the base."""
        return self._folder / self._sha256

    def read(self, files: RootFiles) -> None:
        """Read them from the base."""
        paths = [*FACT_FILES]
        for folder, names in files.names(FACT_FOLDERS).items():
            paths += [f"{folder}/{name}" for name in names]
        with work_folder(self._folder) as work:
            found = work / "facts"
            for path, content in files.read(paths, limit=FACT_BYTES, total=2 * FACT_BYTES).items():
                target = found / path.strip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            for earlier in self._folder.glob("[0-9a-f]*"):
                shutil.rmtree(earlier)  # of a base that this one replaces
            found.rename(self.path)

    def choose(self, packages: Packages) -> Choice:
        """Decide the packages and fetch them into the cache.

        Raises BaseImageError, FetchError, VerificationError, or BuildError where the archive lacks a package.
        """
        wish = Wish(install=packages.install, purge=packages.purge, upgrade=packages.upgrade)
        folder = self._cache / "apt"
        with exclusive(folder / ".lock"):  # apt's lists and files have one user at a time
            apt = Apt(folder / self._sha256[:16], self.path, self._cache / "packages")
            apt.update()
            transaction = apt.choose(wish)
            files = apt.fetch(wish, transaction)
            return Choice(transaction=transaction, files=files, described=apt.describe(transaction))
