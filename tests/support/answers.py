"""What GitHub tells, and files to compare it with, for tests that only think."""

import hashlib
from pathlib import Path
from typing import Any

from ci.github.answers import Asset, Commit, Created, Release
from ci.records import artifacts
from ci.release.dist import LocalFile
from ci.release.publish import Proposal
from ci.release.state import section
from ci.text.markdown import Markdown
from tests.support.releasing import COMMIT, TAG

OURS = section(COMMIT, Markdown("Notes"))
HEAD, TREE = "a" * 40, "e" * 40


def unread(asset: Asset) -> str:
    """In place of the reading of bytes, where GitHub tells every digest."""
    raise AssertionError(f"{asset.name} need not be read")


def local(name: str, data: bytes = b"data") -> LocalFile:
    return LocalFile(path=Path("/dist") / name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


IMAGE, LIST, RECORD = (
    local("image.qcow2", b"image"),
    local("image.packages.tsv", b"list"),
    local(artifacts.RELEASE, b"{}"),
)
FILES = (IMAGE, LIST, RECORD)


def asset(file: LocalFile, **changes: Any) -> Asset:  # noqa: ANN401 - the fields of Asset
    values: dict[str, Any] = {
        "id": 1, "name": file.name, "state": "uploaded", "size": file.size,
        "url": f"https://api.github.com/assets/{file.name}",
        "browser_download_url": f"https://github.com/o/r/releases/download/{TAG}/{file.name}",
        "digest": f"sha256:{file.sha256}",
    }  # fmt: skip
    return Asset.model_validate(values | changes)


def release(tag: str = TAG, **changes: Any) -> Release:  # noqa: ANN401 - the fields of Release
    values: dict[str, Any] = {
        "id": 7, "tag_name": tag, "name": tag, "target_commitish": COMMIT, "draft": False, "body": OURS,
        "html_url": f"https://github.com/o/r/releases/tag/{tag}",
        "upload_url": "https://uploads.github.com/repos/o/r/releases/7/assets{?name,label}",
    }  # fmt: skip
    return Release.model_validate(values | changes)


def commit(message: str, *, sha: str = "b" * 40, tree: str = TREE, parents: tuple[str, ...] = (HEAD,)) -> Commit:
    return Commit(
        sha=sha, message=message, tree=Created(sha=tree), parents=tuple(Created(sha=parent) for parent in parents)
    )


def proposal(**changes: Any) -> Proposal:  # noqa: ANN401 - the fields of Proposal
    values: dict[str, Any] = {"tag": TAG, "commit": COMMIT, "body": OURS, "latest": True, "files": FILES}
    return Proposal(**(values | changes))
