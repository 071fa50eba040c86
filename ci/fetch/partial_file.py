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

    A sidecar says which object it is of, so that a later run can continue it.
    """

    def __init__(self, folder: OpenFolder, name: str, url: str) -> None:
        self.folder = folder
        self._target, self._name, self._sidecar = name, f"{name}.part", f"{name}.part.json"
        # What stands for the URL on disk, where its tokens have no business.
        self._url_digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        self.size = 0
        self.validator: str | None = None
        self._digest = hashlib.sha256()
        # Open for as long as it is ours: the number of a file that was removed is soon another's.
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "PartialFile":  # noqa: PYI034 - Python 3.10 has no Self
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def sha256(self) -> str:
        """The digest of the bytes so far."""
        return self._digest.hexdigest()

    def load(self, limit: int) -> None:
        """Take over what an earlier run left, if it is of this URL, says of which object, and is within `limit`."""
        # What is no file of ours is nothing to continue. `begin` puts a new one in its place.
        with suppress(FileNotFoundError, PermissionError, HostError):
            self._file = self.folder.writing(self._name)
            found = os.fstat(self._file.fileno())
            validator = self._known_validator()
            if validator is None or found.st_size > limit or found.st_uid != os.geteuid():
                return
            with self.folder.reading(self._name) as file:
                while block := file.read(CHUNK_BYTES):
                    self._digest.update(block)
                    self.size += len(block)
            self.validator = validator

    def begin(self, validator: str | None) -> None:
        """Start anew, with the object that `validator` identifies.

        The part is empty before its sidecar speaks of another object: a kill in between leaves nothing to continue.
        """
        self._reset()
        self.folder.remove(self._name)
        self._file = self.folder.writing(self._name, new=True)
        known = json.dumps({"url": self._url_digest, "validator": validator})
        self.folder.write_atomic(self._sidecar, known)
        self.validator = validator

    def append(self, chunks: Iterable[bytes]) -> None:
        """Write and hash what comes, and keep what came where it breaks off."""
        file = self._mine()
        try:
            for chunk in chunks:
                file.write(chunk)
                self._digest.update(chunk)
                self.size += len(chunk)
        finally:
            if not file.closed:  # else it was discarded
                file.flush()

    def finish(self) -> None:
        """Give it its final name, and leave nothing beside that."""
        os.fsync(self._mine().fileno())
        self._forget_sidecar()
        self.folder.rename(self._name, self._target)
        self._close()
        self.folder.sync()

    def discard(self) -> None:
        """Remove it, and whatever a killed run left of its sidecar."""
        self._reset()
        self.folder.remove(self._name)
        self._forget_sidecar()

    def _mine(self) -> IO[bytes]:
        """The file that was hashed, if it has its name and length: where locks do not work, another run may be on."""
        named = self.folder.state(self._name)
        if self._file and named:
            found = os.fstat(self._file.fileno())
            if os.path.samestat(found, named) and found.st_size == self.size:
                return self._file
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

    def _close(self) -> None:
        if self._file:
            with suppress(OSError):  # a full disk told it before
                self._file.close()
            self._file = None

    def _reset(self) -> None:
        self._close()
        self._digest, self.size, self.validator = hashlib.sha256(), 0, None

    def _forget_sidecar(self) -> None:
        self.folder.remove(self._sidecar)
        self.folder.sweep_unfinished(self._sidecar)
