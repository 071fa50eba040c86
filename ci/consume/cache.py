"""The cache that Toolsmith looks in: `<workspace>/.toolsmith/cache/<image.name>/<qcow2_sha256>/<file>`.

The workspace may be a stranger's, so nothing below it is reached through a link: see `OpenFolder`.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ci.consume.wanted import Wanted
from ci.fetch.download import download
from ci.fetch.open_url import Client
from ci.host.errors import FetchError, HostError, InputError, ToolsmithError
from ci.host.files import sha256_of
from ci.host.open_folder import OpenFolder
from ci.host.progress import Reporter
from ci.host.workspace import wait_for_lock

OWN, CACHE = ".toolsmith", "cache"
FOLDER = Path(OWN, CACHE)
IGNORE = ".gitignore"

_DIGEST = re.compile(r"[0-9a-f]{64}")


class How(Enum):
    """How an image came to be in the cache."""

    CACHED = "cached"
    COPIED = "copied"
    DOWNLOADED = "downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedImage:
    """An image's place in the cache of a workspace. Whatever happens, the right file is there or none.

    `elsewhere` is the folder that a person says is used as the cache, by a link in its place.
    """

    workspace: Path
    wanted: Wanted
    reporter: Reporter
    elsewhere: Path | None = None

    @property
    def cache(self) -> Path:
        return self.workspace.absolute() / FOLDER

    @property
    def path(self) -> Path:
        return self.cache / self.wanted.name / self.wanted.sha256 / self.wanted.file

    def hydrate(self, client: Client, *, offline: bool = False) -> tuple[How, int]:
        """Have the image in its place, verified; how that came about, and its bytes.

        Raises VerificationError where what came is not it, FetchError where nothing came, InputError where nobody knows
        where it is, HostError where this machine cannot hold it.
        """
        if (size := self._verified()) is not None:
            return How.CACHED, size
        with self.locked() as cache:
            if (size := self._verified()) is not None:  # another run was faster
                return How.CACHED, size
            size = self._fill(cache, client, offline=offline)
        return How.DOWNLOADED if self.wanted.from_web else How.COPIED, size

    @contextmanager
    def locked(self) -> Iterator[OpenFolder]:
        """The cache, for this run alone: what changes it, or the manifest, is done in it.

        The folder itself is what is locked, so that this works where it cannot be written to. Raises HostError where a
        file cannot be used.
        """
        with self._usable(), self._opened(create=True) as cache:
            if not wait_for_lock(cache.handle, self._waiting):
                self.reporter.warn(f"the file system of {self.cache} has no locks; let no other run use it meanwhile")
            yield cache

    def prune(self, cache: OpenFolder) -> list[Path]:
        """Remove the folders of all other digests of this image, and tell which; the wanted one stays."""
        removed: list[Path] = []
        with cache.folder(self.wanted.name) as images:
            for name in images.names():
                found = images.state(name)
                old = name != self.wanted.sha256 and _DIGEST.fullmatch(name) and found and stat.S_ISDIR(found.st_mode)
                if old and self._removed(images, name):
                    removed.append(images.path / name)
        return removed

    def _removed(self, images: OpenFolder, name: str) -> bool:
        path = images.path / name
        try:
            with images.folder(name) as folder:
                files = folder.names()
                if any(stat.S_ISDIR(found.st_mode) for found in map(folder.state, files) if found):
                    self.reporter.warn(f"{path} is left: it has folders in it, which no image's folder has")
                    return False
                for file in files:
                    folder.remove(file)
            images.remove_folder(name)
        except OSError as error:
            raise HostError(
                f"{error.filename or path} cannot be removed: {error.strerror}", hint="Check its owner."
            ) from error
        self.reporter.note(f"removed {path}")
        return True

    def _waiting(self) -> AbstractContextManager[None]:
        return self.reporter.step("another run is at work in this cache; waiting")

    @contextmanager
    def _opened(self, *, create: bool = False) -> Iterator[OpenFolder]:
        """The cache's folder, kept out of git; raises FileNotFoundError where there is none and none is to be made."""
        with OpenFolder.at(self.workspace.absolute()) as workspace, workspace.folder(OWN, create=create) as own:
            if self.elsewhere is not None:
                with self._linked(own, self.elsewhere, create=create) as cache:
                    yield cache
                return
            found = own.state(CACHE)
            if found and stat.S_ISLNK(found.st_mode):
                target = os.readlink(CACHE, dir_fd=own.handle)
                raise HostError(
                    f"{self.cache} is a link to {target}, and may have come with the workspace",
                    hint=f"If you made it, say so: --cache {target}. Otherwise remove it.",
                )
            with own.folder(CACHE, create=create) as cache:
                _keep_out_of_git(cache)
                yield cache

    @contextmanager
    def _linked(self, own: OpenFolder, elsewhere: Path, *, create: bool) -> Iterator[OpenFolder]:
        """The folder that a person named, once a link in the cache's place leads to it."""
        with OpenFolder.at(elsewhere.absolute()) as cache:
            if create and own.state(CACHE) is None:
                os.symlink(elsewhere.absolute(), CACHE, dir_fd=own.handle)
            with suppress(FileNotFoundError):
                if not os.path.samestat(os.stat(CACHE, dir_fd=own.handle), os.fstat(cache.handle)):
                    raise HostError(
                        f"{self.cache} is not a link to {elsewhere}",
                        hint="Move it away; then --cache makes the link. Or name where it leads.",
                    )
            yield cache

    def _verified(self) -> int | None:
        """Its bytes if it is there and right, reading it once; raises HostError where that cannot be read."""
        wanted = self.wanted
        with self._usable(), suppress(FileNotFoundError), ExitStack() as held:
            cache = held.enter_context(self._opened())
            images = held.enter_context(cache.folder(wanted.name))
            folder = held.enter_context(images.folder(wanted.sha256))
            found = folder.state(wanted.file)
            if found is None or stat.S_ISLNK(found.st_mode):
                return None
            file = held.enter_context(folder.reading(wanted.file))
            size = os.fstat(file.fileno()).st_size
            if wanted.size not in {None, size}:
                return None
            with self.reporter.transfer(f"verify {wanted.file}", size) as advance:
                return size if sha256_of(file, advance) == wanted.sha256 else None
        return None

    def _fill(self, cache: OpenFolder, client: Client, *, offline: bool) -> int:
        wanted = self.wanted
        with cache.folder(wanted.name, create=True) as images:
            try:
                with images.folder(wanted.sha256, create=True) as folder:
                    if folder.state(wanted.file):
                        self.reporter.warn(f"{self.path} is not what the manifest promises; it is replaced")
                        folder.remove(wanted.file)
                    source = _required_source(wanted, offline=offline)
                    return download(
                        source, self.path, sha256=wanted.sha256, size=wanted.size, client=client,
                        reporter=self.reporter, folder=folder,
                    ).size  # fmt: skip
            except ToolsmithError:
                with suppress(OSError):  # which tells that something is in the folder
                    images.remove_folder(wanted.sha256)
                    cache.remove_folder(wanted.name)
                raise

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HostError(
                f"{error.filename or self.cache} cannot be used: {error.strerror}",
                hint="Check owner, permissions and what is mounted there; if it is gone, run it again. --cache takes "
                "another folder.",
            ) from error


def _keep_out_of_git(cache: OpenFolder) -> None:
    with suppress(OSError):  # an image in a folder that cannot be written to is an image all the same
        if cache.state(IGNORE) is None:
            cache.sweep_unfinished(IGNORE)
            cache.write_atomic(IGNORE, "*\n")


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
