"""What is here already of a download: `<target>.part` on disk, and its digest as it grows."""

import errno
import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import IO

from ci.host.errors import HostError
from ci.host.files import CHUNK_BYTES
from ci.host.open_folder import OpenFolder

LONGEST_SIDECAR = 10_000


class PartialFile:
    """The beginning of an object, always without a gap, and what identifies the object.

    A sidecar says which object it is of, so that a later run can continue it. `inherited` is True while it holds
    bytes of an earlier run, which nobody has hashed on their way to the disk.
    """

    def __init__(self, folder: OpenFolder, name: str, url: str) -> None:
        self.folder = folder
        self._target, self._name, self._sidecar = name, f"{name}.part", f"{name}.part.json"
        # What stands for the URL on disk, where its tokens have no business.
        self._url_digest = hashlib.sha256(url.encode()).hexdigest()
        self.size = 0
        self.validator: str | None = None
        self.inherited = False
        self._digest = hashlib.sha256()
        self._file = (0, 0)

    @property
    def sha256(self) -> str:
        """The digest of the bytes so far."""
        return self._digest.hexdigest()

    def load(self, limit: int) -> None:
        """Take over what an earlier run left, if it is of this URL, says of which object, and is within `limit`."""
        # What is no file of ours is nothing to continue. `begin` puts a new one in its place.
        with suppress(FileNotFoundError, PermissionError, HostError), self.folder.writing(self._name) as mine:
            found = os.fstat(mine.fileno())
            validator = self._known_validator()
            if validator is None or found.st_size > limit or found.st_uid != os.geteuid():
                return
            with self.folder.reading(self._name) as file:
                while block := file.read(CHUNK_BYTES):
                    self._digest.update(block)
                    self.size += len(block)
            self._file = (found.st_dev, found.st_ino)
            self.validator, self.inherited = validator, self.size > 0

    def begin(self, validator: str | None) -> None:
        """Start anew, with the object that `validator` identifies.

        The part is empty before its sidecar speaks of another object: a kill in between leaves nothing to continue.
        """
        self._reset()
        self.folder.remove(self._name)
        with self.folder.writing(self._name, new=True) as file:
            found = os.fstat(file.fileno())
        self._file = (found.st_dev, found.st_ino)
        known = json.dumps({"url": self._url_digest, "validator": validator})
        self.folder.write_atomic(self._sidecar, known)
        self.validator = validator

    def append(self, chunks: Iterable[bytes]) -> None:
        """Write and hash what comes, and keep what came where it breaks off."""
        with self._open() as file:
            for chunk in chunks:
                file.write(chunk)
                self._digest.update(chunk)
                self.size += len(chunk)

    def finish(self) -> None:
        """Give it its final name, and leave nothing beside that."""
        with self._open() as file:
            os.fsync(file.fileno())
        self._forget_sidecar()
        self.folder.rename(self._name, self._target)
        self.folder.sync()

    def discard(self) -> None:
        """Remove it, and whatever a killed run left of its sidecar."""
        self._reset()
        self.folder.remove(self._name)
        self._forget_sidecar()

    def _open(self) -> IO[bytes]:
        """The very file that was hashed, and as long as that: where locks do not work, another run may have its own."""
        file = self.folder.writing(self._name)
        found = os.fstat(file.fileno())
        if (found.st_dev, found.st_ino, found.st_size) == (*self._file, self.size):
            return file
        file.close()
        reason = "somebody else replaced or changed it meanwhile"
        raise OSError(errno.ESTALE, reason, os.fspath(self.folder.path / self._name))

    def _known_validator(self) -> str | None:
        """What the sidecar says, if that is of this URL and can stand in a request."""
        with self.folder.reading(self._sidecar) as file:
            text = file.read(LONGEST_SIDECAR)
        try:
            known = json.loads(text)
            url, validator = known["url"], known["validator"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        fits = isinstance(validator, str) and validator.isascii() and validator.isprintable()
        return validator.strip() or None if fits and url == self._url_digest else None

    def _reset(self) -> None:
        self._digest, self.size, self.validator, self.inherited = hashlib.sha256(), 0, None, False

    def _forget_sidecar(self) -> None:
        self.folder.remove(self._sidecar)
        self.folder.sweep_unfinished(self._sidecar)
