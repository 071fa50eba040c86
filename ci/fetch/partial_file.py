"""What is here already of a download: `<target>.part` on disk, and its digest as it grows."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ci.host.files import CHUNK_BYTES, sweep_unfinished, sync, write_atomic


class PartialFile:
    """The beginning of an object, always without a gap, and what identifies the object.

    A sidecar says which object it is of, so that a later run can continue it. `inherited` is True while it holds
    bytes of an earlier run, which nobody has hashed on their way to the disk.
    """

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.sidecar = target.with_name(f"{target.name}.part.json")
        # What stands for the URL on disk, where its tokens have no business.
        self._url_digest = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        self.size = 0
        self.validator: str | None = None
        self.inherited = False
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of the bytes so far."""
        return self._digest.hexdigest()

    def load(self) -> None:
        """Take over what an earlier run left, if it is of this URL and says of which object."""
        try:
            known = json.loads(self.sidecar.read_text())
            with self.path.open("rb") as file:
                if not isinstance(known, dict) or known.get("url") != self._url_digest or not known.get("validator"):
                    return
                while block := file.read(CHUNK_BYTES):
                    self._digest.update(block)
                    self.size += len(block)
        except (FileNotFoundError, ValueError, RecursionError):
            return
        self.validator, self.inherited = str(known["validator"]), self.size > 0

    def begin(self, validator: str | None) -> None:
        """Start anew, with the object that `validator` identifies.

        The part is emptied before its sidecar speaks of another object: a kill in between leaves nothing to continue.
        """
        self._reset()
        self.path.write_bytes(b"")
        write_atomic(self.sidecar, json.dumps({"url": self._url_digest, "validator": validator}))
        self.validator = validator

    def append(self, chunks: Iterable[bytes]) -> None:
        """Write and hash what comes, and keep what came where it breaks off."""
        with self.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                self._digest.update(chunk)
                self.size += len(chunk)

    def finish(self) -> None:
        """Give it its final name, and leave nothing beside that."""
        sync(self.path)
        self._forget_sidecar()
        self.path.replace(self.target)
        sync(self.target.parent)

    def discard(self) -> None:
        """Remove it, and whatever a killed run left of its sidecar."""
        self._reset()
        self.path.unlink(missing_ok=True)
        self._forget_sidecar()

    def _reset(self) -> None:
        self._digest, self.size, self.validator, self.inherited = hashlib.sha256(), 0, None, False

    def _forget_sidecar(self) -> None:
        self.sidecar.unlink(missing_ok=True)
        sweep_unfinished(self.sidecar)
