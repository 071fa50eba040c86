"""What becomes of the base's packages: decided and fetched before the appliance starts, by ci/image/apt.py."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from ci.host.workspace import exclusive, work_folder
from ci.image import archive, root_files
from ci.image.apt import BASE_FILES, Apt, Transaction, Wish
from ci.image.base import VerifiedBase
from ci.image.definition import Packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The packages of one build: what happens, the files for it, and the archive's own entries of them."""

    transaction: Transaction
    files: tuple[Path, ...]
    described: str

    def write_archive(self, image: Path, work: Path) -> None:
        """Write the disk from which the appliance installs them."""
        archive.make_archive(self.files, self.described, image, work)


def choose(packages: Packages, base: VerifiedBase, cache: Path) -> Choice:
    """Decide the packages and fetch them into `cache`.

    Raises BaseImageError, FetchError, VerificationError, or BuildError where the archive lacks a package.
    """
    wish = Wish(install=packages.install, purge=packages.purge, upgrade=packages.upgrade)
    folder = cache / "apt"
    with exclusive(folder / ".lock"):  # apt's lists and files have one user at a time
        apt = Apt(folder / base.sha256[:16], _facts(base, folder / "facts"), cache / "packages")
        apt.update()
        transaction = apt.choose(wish)
        files = apt.fetch(wish, transaction)
        return Choice(transaction=transaction, files=files, described=apt.describe(transaction))


def _facts(base: VerifiedBase, folder: Path) -> Path:
    """What the base says about its packages, from the cache where it was read before."""
    facts = folder / base.sha256
    if not facts.exists():
        with work_folder(folder) as work:
            found = work / "facts"
            found.mkdir()
            root_files.copy_out(base.path, BASE_FILES, found, work)
            for earlier in folder.glob("[0-9a-f]*"):
                shutil.rmtree(earlier)  # of a base that this one replaces
            found.rename(facts)
    return facts
