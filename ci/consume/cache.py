"""The cache that Toolsmith looks in: `<workspace>/.toolsmith/cache/<image.name>/<qcow2_sha256>/<file>`."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ci.consume.wanted import Wanted
from ci.fetch.download import download
from ci.fetch.open_url import Client
from ci.host.errors import FetchError, HostError, InputError, ToolsmithError
from ci.host.files import sha256_file
from ci.host.progress import Reporter
from ci.host.workspace import exclusive

FOLDER = Path(".toolsmith", "cache")
LOCK = ".ensure-vm.lock"

_DIGEST = re.compile(r"[0-9a-f]{64}")


class How(Enum):
    """How an image came to be in the cache."""

    CACHED = "cached"
    COPIED = "copied"
    DOWNLOADED = "downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedImage:
    """An image's place in the cache of a workspace. Whatever happens, the right file is there or none."""

    workspace: Path
    wanted: Wanted
    reporter: Reporter

    @property
    def cache(self) -> Path:
        return self.workspace.absolute() / FOLDER

    @property
    def path(self) -> Path:
        return self.cache / self.wanted.name / self.wanted.sha256 / self.wanted.file

    def hydrate(self, client: Client, *, offline: bool = False) -> How:
        """Have the image in its place, verified.

        Raises VerificationError where what came is not it, FetchError where nothing came, InputError where nobody knows
        where it is, HostError where this machine cannot hold it.
        """
        if self._verified():
            return How.CACHED
        with self.locked():
            if self._verified():  # another run was faster
                return How.CACHED
            self._fill(client, offline=offline)
        return How.DOWNLOADED if self.wanted.from_web else How.COPIED

    @contextmanager
    def locked(self) -> Iterator[None]:
        """What changes the cache, or the manifest, is done in it; raises HostError where a file cannot be used."""
        try:
            lock = self.cache / LOCK
            with exclusive(lock, waiting=lambda: self.reporter.step("another run is at work in this cache; waiting")):
                yield
        except OSError as error:
            raise HostError(
                f"{error.filename or self.cache} cannot be used: {error.strerror}",
                hint="Check the folder's owner and permissions.",
            ) from error

    def prune(self) -> list[Path]:
        """Remove the folders of all other digests of this image, and tell which; the wanted one stays."""
        removed: list[Path] = []
        for folder in sorted((self.cache / self.wanted.name).iterdir()):
            old = folder.name != self.wanted.sha256 and _DIGEST.fullmatch(folder.name)
            if old and folder.is_dir() and not folder.is_symlink():
                try:
                    shutil.rmtree(folder)
                except OSError as error:
                    raise HostError(
                        f"{error.filename or folder} cannot be removed: {error.strerror}", hint="Check its owner."
                    ) from error
                self.reporter.note(f"removed {folder}")
                removed.append(folder)
        return removed

    def _verified(self) -> bool:
        """Whether it is there and right, reading it once; raises HostError where it cannot be read, or is no file."""
        path = self.path
        try:
            if not path.exists():
                return False
            if not path.is_file():
                raise HostError(f"{path} is in the way: it is not a file", hint="Move it away.")
            size = path.stat().st_size
            if self.wanted.size not in {None, size}:
                return False
            with self.reporter.transfer(f"verify {path.name}", size) as advance:
                return sha256_file(path, advance) == self.wanted.sha256
        except OSError as error:
            raise HostError(
                f"{path} cannot be read: {error.strerror}", hint="Check the permissions of the folders of the cache."
            ) from error

    def _fill(self, client: Client, *, offline: bool) -> None:
        wanted, path = self.wanted, self.path
        if path.exists() or path.is_symlink():
            self.reporter.warn(f"{path} is not what the manifest promises; it is replaced")
            path.unlink()
        try:
            source = _required_source(wanted, offline=offline)
            download(source, path, sha256=wanted.sha256, size=wanted.size, client=client, reporter=self.reporter)
        except ToolsmithError:
            with suppress(OSError):  # which tells that something is in the folder
                path.parent.rmdir()
                path.parent.parent.rmdir()
            raise


def _required_source(wanted: Wanted, *, offline: bool) -> str:
    if wanted.source is None:
        raise InputError(
            f"{wanted.file} is neither in the cache nor beside the manifest, which does not say where it is published",
            hint="Put the file beside the manifest, or name the release's manifest with --manifest.",
        )
    if offline and wanted.from_web:
        raise FetchError(
            f"{wanted.file} is not in the cache, and --offline forbids to fetch it", hint="Run it without --offline."
        )
    return wanted.source
