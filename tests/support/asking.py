"""All the calls of the tree that ask a server, at one server."""

from collections.abc import Callable
from pathlib import Path

from ci.fetch.download import announced_size, download, read_url
from ci.fetch.github_access import GitHubAccess
from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.fetch.source import AbsentError
from ci.github.answers import Asset, Commit, Created, Release
from ci.github.client import GitHub
from ci.github.context import Context
from ci.github.files import Snapshot
from ci.host.errors import ToolsmithError
from tests.support.quiet import quiet_reporter

TOKEN = "ghs_not_for_everybody"  # noqa: S105 - no real one
# Two attempts, each of which may stand still for as long as this.
SECONDS = 0.4
PATIENCE = Patience(
    attempts=2, timeout=SECONDS, upload_timeout=SECONDS, sleep=lambda _: None, seconds_between_requests=0,
    seconds_between_writes=0,
)  # fmt: skip
MOST_BYTES = 8 << 20
SHA = "a" * 40


class Asking:
    """All the calls of the tree, at one server."""

    def __init__(self, url: str, folder: Path, patience: Patience = PATIENCE) -> None:
        self.folder, self.url = folder, url
        context = Context(server_url=url, api_url=url, token=TOKEN, repository="o/r", commit=None)
        self.github = GitHub(context, quiet_reporter(), patience)
        access = GitHubAccess(server_url=url, api_url=url, token=TOKEN)
        self.client = Client(patience=patience, github=access)
        self.public = f"{url}/o/r/releases/download/v2026.11.24/image"
        self.image = folder / "image.qcow2"
        self.image.write_bytes(b"QFI\xfb" + bytes(300_000))

    def asset(self, digest: str | None = f"sha256:{'0' * 64}") -> Asset:
        at = f"{self.url}/repos/o/r/releases/assets/1"
        return Asset(
            id=1, name="image", state="uploaded", size=9, url=at, browser_download_url=self.public, digest=digest
        )

    @property
    def release(self) -> Release:
        return Release(
            id=1,
            tag_name="v2026.11.24",
            target_commitish=SHA,
            draft=True,
            html_url="",
            upload_url=f"{self.url}/up{{?n}}",
        )


def read(one: Asking, url: str) -> bytes:
    return read_url(url, max_bytes=MOST_BYTES, reporter=quiet_reporter(), client=one.client)


def fetch(one: Asking, url: str) -> object:
    target = one.folder / "got"
    return download(url, target, sha256="0" * 64, reporter=quiet_reporter(), max_bytes=MOST_BYTES, client=one.client)


TREE = Created(sha=SHA)
COMMIT = Commit(sha=SHA, message="", tree=TREE, parents=())
CALLS: dict[str, Callable[[Asking], object]] = {
    "an object": lambda one: one.github.repository(),
    "a switch": lambda one: one.github.releases_are_immutable(),
    "a list": lambda one: one.github.releases(),
    "a reference": lambda one: one.github.tag_commit("v2026.11.24"),
    "a file": lambda one: Snapshot(one.github, COMMIT).find("README.md"),
    "something that is made": lambda one: one.github.write_tree(COMMIT, [("a", "100644", "b")]),
    "something that may be there": lambda one: one.github.create_branch("x", SHA),
    "a write that is looked after": lambda one: one.github.create_pull(branch="x", base="y", title="", body=""),
    "a removal": lambda one: one.github.delete_asset(one.asset()),
    "an upload": lambda one: one.github.upload(one.release, one.image, lambda _: None),
    "an asset": lambda one: one.github.download(one.asset()),
    "an asset without a digest": lambda one: one.github.download(one.asset(digest=None)),
    "the digest of an asset": lambda one: one.github.sha256(one.asset()),
    "a consumer's file": lambda one: read(one, f"{one.url}/x"),
    "a file's size": lambda one: announced_size(f"{one.url}/x", reporter=quiet_reporter(), client=one.client),
    "an image": lambda one: fetch(one, one.public),
    "what is attested": lambda one: read(one, one.github.context.attestation_url("0" * 64)),
}
ERRORS = (ToolsmithError, AbsentError)


def outcome(call: str, asking: Asking) -> str:
    """What it came to, as a person is told it. What is no error of the tree passes."""
    try:
        CALLS[call](asking)
    except ERRORS as failure:
        return str(failure)
    return ""
