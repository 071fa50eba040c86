"""All files of an image, as something to compare."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from ci.host import qcow2
from ci.host.process import run

SECTOR = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a file is, but for its times; `content` is a digest, or where a link leads."""

    mode: int
    owner: tuple[int, int]
    content: str


def read_tree(image: Path, work: Path) -> dict[str, Entry]:
    """Every file, folder and link of the root file system of one of our own images. Owners are right only for root."""
    raw, root = work / "disk.raw", work / "root"
    root.mkdir(parents=True)
    qcow2.convert_to_raw(image, raw)
    table = json.loads(run(["sfdisk", "--json", raw], timeout=60).stdout)["partitiontable"]
    start = next(partition["start"] for partition in table["partitions"] if partition["node"].endswith("raw1"))
    run(["debugfs", "-R", f"rdump / {root}", f"{raw}?offset={start * SECTOR}"], timeout=300)
    raw.unlink()
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            found[f"/{path.relative_to(root)}"] = _entry(path)
    return found


def _entry(path: Path) -> Entry:
    status = path.lstat()
    if path.is_symlink():
        content = os.fspath(path.readlink())
    elif path.is_file():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    else:
        content = ""
    return Entry(mode=status.st_mode, owner=(status.st_uid, status.st_gid), content=content)
