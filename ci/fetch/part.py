"""What is here already of a download: `<target>.part` on disk, and its digest as it grows.

Runs on Python 3.10 too, for consumers of the image.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from ci.host.files import CHUNK_BYTES, sweep_unfinished, sync_file, sync_folder, write_atomic


def part_path(target: Path) -> Path:
    """Where the part of a download to `target` is."""
    return target.with_name(f"{target.name}.part")


def has_remains(target: Path) -> bool:
    """True where a part or its sidecar lies beside `target`: a kill can come between the rename and the removal."""
    return part_path(target).exists() or origin_path(target).exists()


def origin_path(target: Path) -> Path:
    """Where the sidecar of that part is."""
    return target.with_name(f"{target.name}.part.json")


class Part:
    """The beginning of an object, always without a gap, and what identifies the object.

    A sidecar says which object it is of, so that a later run can continue it. `inherited` is True while it holds
    bytes of an earlier run, which nobody has hashed on their way to the disk.
    """

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.path = part_path(target)
        self.origin = origin_path(target)
        self.size = 0
        self.validator: str | None = None
        self.inherited = False
        # What stands for the URL on disk, where its tokens have no business.
        self._url_digest = hashlib.sha256(url.encode()).hexdigest()
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The digest of the bytes so far."""
        return self._digest.hexdigest()

    def load(self) -> None:
        """Take over what an earlier run left, if it is of this URL and says of which object."""
        try:
            origin = json.loads(self.origin.read_text())
            with self.path.open("rb") as file:
                if not isinstance(origin, dict) or origin.get("url") != self._url_digest or not origin.get("validator"):
                    return
                while block := file.read(CHUNK_BYTES):
                    self._digest.update(block)
                    self.size += len(block)
        except (FileNotFoundError, ValueError):
            return
        self.validator, self.inherited = str(origin["validator"]), self.size > 0

    def begin(self, validator: str | None) -> None:
        """Start anew, with the object that `validator` identifies.

        The part is emptied before its sidecar speaks of another object: a kill in between leaves nothing to continue.
        """
        self._reset()
        self.path.write_bytes(b"")
        write_atomic(self.origin, json.dumps({"url": self._url_digest, "validator": validator}))
        self.validator = validator

    def append(self, chunks: Iterable[bytes]) -> None:
        """Write and hash what comes, and keep what came where it breaks off."""
        with self.path.open("ab") as file:
            for chunk in chunks:
                file.write(chunk)
                self._digest.update(chunk)
                self.size += len(chunk)

    def finish(self) -> None:
        """Give it its final name."""
        sync_file(self.path)
        self.path.replace(self.target)
        self._forget_origin()
        sync_folder(self.target.parent)

    def discard(self) -> None:
        """Remove it, and whatever a killed run left of its sidecar."""
        self._reset()
        self.path.unlink(missing_ok=True)
        self._forget_origin()

    def _reset(self) -> None:
        self._digest, self.size, self.validator, self.inherited = hashlib.sha256(), 0, None, False

    def _forget_origin(self) -> None:
        self.origin.unlink(missing_ok=True)
        sweep_unfinished(self.origin)
