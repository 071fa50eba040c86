"""Releases and their assets, kept here whole: what GitHub does with them differs too much from what emulate does.

Rules are GitHub's, from its OpenAPI description (npm @octokit/openapi 23.0.2) where no other source is named.
"""

import itertools
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from ci.rehearsal.replies import ApiError, Json, Quirks, invalid, not_found, problem

MAX_ASSET_BYTES = 1 << 31
BYTES = "application/octet-stream"
CREATION_RESTRICTED = "Repository rule violations found\n\nCannot create ref due to creations being restricted.\n\n"

# What the API calls as it is called here.
SAME_IN_ASSETS = ("id", "name", "label", "uploader", "content_type", "size", "digest", "created_at", "updated_at")
SAME_IN_RELEASES = (
    "id", "author", "tag_name", "target_commitish", "name", "draft", "immutable", "prerelease", "created_at",
    "updated_at", "published_at", "body",
)  # fmt: skip


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class AssetState(StrEnum):
    """`starter` is in the prose of "Upload a release asset", but not in the schema's list."""

    STARTER = "starter"
    UPLOADED = "uploaded"


@dataclass(slots=True, kw_only=True)
class StoredAsset:
    """A file of a release; `path` is where its bytes are, `digest` their `sha256:...`."""

    id: int
    name: str
    label: str
    content_type: str
    uploader: Json
    path: Path
    state: AssetState = AssetState.STARTER
    size: int = 0
    digest: str | None = None
    downloads: int = 0
    created_at: str = field(default_factory=timestamp)
    updated_at: str = field(default_factory=timestamp)


@dataclass(slots=True, kw_only=True)
class StoredRelease:
    """`repository` is its full name; `created_at` is the date of the commit it is of."""

    id: int
    repository: str
    author: Json
    tag_name: str
    target_commitish: str
    created_at: str = ""
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    immutable: bool = False
    published_at: str | None = None
    updated_at: str = field(default_factory=timestamp)
    assets: dict[int, StoredAsset] = field(default_factory=dict)
    untagged: str = field(default_factory=lambda: f"untagged-{secrets.token_hex(10)}")

    @property
    def page(self) -> str:
        """Its place in addresses of the web site."""
        return quote(self.untagged if self.draft else self.tag_name)

    def asset_named(self, name: str) -> StoredAsset | None:
        return next((asset for asset in self.assets.values() if asset.name == name), None)


@dataclass(slots=True, kw_only=True)
class Shelf:
    """The releases of one repository.

    `latest` is the one that was made so, None where the newest is. `burned` are the tags of immutable releases,
    kept when those are deleted.
    """

    releases: dict[int, StoredRelease] = field(default_factory=dict)
    latest: int | None = None
    immutable: bool = False
    burned: set[str] = field(default_factory=set)

    def _published(self) -> list[StoredRelease]:
        return [release for release in self.releases.values() if not release.draft]

    def with_tag(self, tag: str) -> StoredRelease | None:
        """The published release of a tag. "Get a release by tag name" knows no others."""
        return next((release for release in self._published() if release.tag_name == tag), None)

    def latest_release(self) -> StoredRelease | None:
        """The marked one; else, of the published ones that are no prerelease, the newest by `created_at`."""
        full = [release for release in self._published() if not release.prerelease]
        marked = [release for release in full if release.id == self.latest]
        return max(marked or full, key=lambda release: (release.created_at, release.id), default=None)

    def check_publishable(self, release: StoredRelease) -> None:
        """Raise the 422 for a tag that is taken or burned."""
        same = self.with_tag(release.tag_name)
        if same is not None and same.id != release.id:
            raise invalid(problem("Release", "tag_name", "already_exists"))
        if release.tag_name in self.burned and same is None:
            # As recorded in https://github.com/github-community-projects/ospo-reusable-workflows/issues/83
            raise invalid(
                problem("Release", "pre_receive", "custom", f"pre_receive {CREATION_RESTRICTED}"),
                problem("Release", "tag_name", "custom", "tag_name was used by an immutable release"),
                problem("Release", "", "custom", "Published releases must have a valid tag"),
            )

    def publish(self, release: StoredRelease, make_latest: str) -> None:
        release.published_at = release.published_at or timestamp()
        if self.immutable:
            release.immutable = True
            self.burned.add(release.tag_name)
        self.choose_latest(release, make_latest)

    def choose_latest(self, release: StoredRelease, make_latest: str) -> None:
        """By `make_latest` of a request. "Drafts and prereleases cannot be set as latest", "legacy" goes by date."""
        if release.draft or release.prerelease:
            return
        if make_latest == "true":
            self.latest = release.id
        elif make_latest == "legacy":
            self.latest = None
        elif self.latest is None:
            others = Shelf(releases={key: value for key, value in self.releases.items() if key != release.id})
            before = others.latest_release()
            self.latest = before.id if before else None


class ReleaseStore:
    """All repositories' releases; identifiers are unique over all of them, as GitHub's are."""

    def __init__(self, url: str, uploads_url: str, folder: Path, quirks: Quirks) -> None:
        self.url = url
        self._quirks = quirks
        self._uploads_url = uploads_url
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._shelves: dict[str, Shelf] = {}
        self._ids = itertools.count(1001)

    def shelf(self, repository: str) -> Shelf:
        return self._shelves.setdefault(repository, Shelf())

    def rename(self, repository: str, name: str) -> None:
        shelf = self._shelves[name] = self._shelves.pop(repository, Shelf())
        for release in shelf.releases.values():
            release.repository = name

    def find(self, repository: str, number: str, *, drafts: bool) -> StoredRelease:
        """The release of that id; "drafts" are for those with push access. Raises the 404."""
        release = self.shelf(repository).releases.get(int(number)) if number.isdecimal() else None
        if release is None or (release.draft and not drafts):
            raise not_found()
        return release

    def find_asset(self, repository: str, number: str, *, drafts: bool) -> tuple[StoredRelease, StoredAsset]:
        for release in self.shelf(repository).releases.values():
            if number.isdecimal() and int(number) in release.assets and (drafts or not release.draft):
                return release, release.assets[int(number)]
        raise not_found()

    def asset(self, number: str) -> StoredAsset:
        """The asset of that id, whosever it is. Raises the 404."""
        for repository in self._shelves:
            with suppress(ApiError):
                return self.find_asset(repository, number, drafts=True)[1]
        raise not_found()

    def new_id(self) -> int:
        return next(self._ids)

    def add_asset(
        self, release: StoredRelease, name: str, uploader: Json, *, label: str = "", content_type: str = BYTES
    ) -> StoredAsset:
        """An empty asset in state `starter`, whose name is taken from now on. Raises the 422 where it already is."""
        if release.asset_named(name):
            # The body that GitHub's upload host sent: @octokit/fixtures 23.1.2, release-assets-conflict
            raise upload_refusal(422, "Validation Failed", problem("ReleaseAsset", "name", "already_exists"))
        number = self.new_id()
        path = self._folder / f"{number}.bin"
        asset = StoredAsset(id=number, name=name, label=label, content_type=content_type, uploader=uploader, path=path)
        release.assets[number] = asset
        return asset

    def asset_json(self, release: StoredRelease, asset: StoredAsset) -> Json:
        """Schema `release-asset`."""
        same = {name: getattr(asset, name) for name in SAME_IN_ASSETS if name != "digest" or self._quirks.digests}
        return same | {
            "url": f"{self.url}/repos/{release.repository}/releases/assets/{asset.id}",
            "node_id": f"RA_{asset.id}",
            "state": str(asset.state),
            "download_count": asset.downloads,
            "browser_download_url": f"{self.url}/{release.repository}/releases/download/{release.page}/{asset.name}",
        }

    def json(self, release: StoredRelease) -> Json:
        """Schema `release`."""
        repository = f"{self.url}/repos/{release.repository}"
        base, uploads = f"{repository}/releases/{release.id}", f"{self._uploads_url}/repos/{release.repository}"
        tag = quote(release.tag_name)
        return {name: getattr(release, name) for name in SAME_IN_RELEASES} | {
            "url": base,
            "assets_url": f"{base}/assets",
            "upload_url": f"{uploads}/releases/{release.id}/assets{{?name,label}}",
            "html_url": f"{self.url}/{release.repository}/releases/tag/{release.page}",
            "node_id": f"RE_{release.id}",
            "assets": [self.asset_json(release, asset) for asset in release.assets.values()],
            "tarball_url": None if release.draft else f"{repository}/tarball/{tag}",
            "zipball_url": None if release.draft else f"{repository}/zipball/{tag}",
        }


RELEASES = web.AppKey("releases", ReleaseStore)


def upload_refusal(status: int, message: str, *errors: Json) -> ApiError:
    """A refusal of the upload host: it tells the request, and repeats no status in the body."""
    return ApiError(status, message, errors=errors, request_id=secrets.token_hex(12).upper())


def stored_name(name: str) -> str:
    """What GitHub makes of an asset's name; which characters it replaces exactly, it does not say.

    "GitHub renames asset filenames that have special characters, non-alphanumeric characters, and leading or
    trailing periods."
    """
    return re.sub(r"\.?[^\w.+@-]+\.?", ".", name, flags=re.ASCII).strip(".")
