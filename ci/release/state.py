"""What a release looks like on GitHub, compared with what is to be published: the ledger is theirs, not ours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ci.github.answers import Asset, Release
from ci.host.errors import RefusedError
from ci.records import artifacts
from ci.release.assets import compare_assets
from ci.release.dist import LocalFile

_MARKER = re.compile(r"<!-- fountainkit-toolsmith-image release of [0-9a-f]{40} -->", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPlan:
    """What is there, and what is still to be done in this order: the draft, what to remove, what to upload, publishing.

    Without a `release` the draft is created first; with a published one nothing is left to do. In `remove` are broken
    uploads and files of an earlier build.
    """

    release: Release | None = None
    remove: tuple[Asset, ...] = ()
    upload: tuple[LocalFile, ...] = ()

    @property
    def published(self) -> bool:
        """True where the release is public, with these very assets."""
        return self.release is not None and not self.release.draft


def marker(commit: str) -> str:
    """The comment in a release's body by which a later run knows a draft for its own."""
    return f"<!-- fountainkit-toolsmith-image release of {commit} -->"


def is_ours(release: Release) -> bool:
    """True for a release that an earlier run of ours created."""
    return bool(_MARKER.search(release.body or ""))


def find(tag: str, releases: Sequence[Release]) -> Release | None:
    """The published release of `tag`, or else its only draft; raises RefusedError where there is no one answer."""
    same = [release for release in releases if release.tag_name == tag]
    if published := [release for release in same if not release.draft]:
        return published[0]
    if len(same) > 1:
        raise RefusedError(
            f"there are {len(same)} drafts of {tag}: {', '.join(release.html_url for release in same)}",
            hint="Delete those that are not needed, then run it again.",
        )
    if same and not is_ours(same[0]):
        raise RefusedError(
            f"there is a draft of {tag} that this command did not make: {same[0].html_url}",
            hint="Delete it, or release as the day's next version (.1, .2 and so on).",
        )
    return same[0] if same else None


def plan_draft(release: Release, assets: Sequence[Asset], wanted: Sequence[LocalFile]) -> PublishPlan:
    """What a draft of ours lacks; raises RefusedError where somebody else added to it."""
    found = compare_assets(assets, wanted)
    if found.foreign:
        raise RefusedError(
            f"the draft {release.html_url} holds assets that are not ours: {_names(found.foreign)}",
            hint="Remove them there: everything that is published must have been tested.",
        )
    right = {asset.name for asset in found.right}
    upload = tuple(file for file in wanted if file.name not in right)
    return PublishPlan(release=release, remove=(*found.wrong, *found.untold), upload=upload)


def require_same(release: Release, assets: Sequence[Asset], wanted: Sequence[LocalFile]) -> None:
    """Raise RefusedError unless a published release holds exactly these files.

    Its record is left out: it tells which run published it, and what came before at that time.
    """
    others = [asset for asset in assets if asset.name != artifacts.RELEASE]
    found = compare_assets(others, [file for file in wanted if file.name != artifacts.RELEASE])
    different = [*(asset.name for asset in found.wrong), *found.missing]
    differences = (
        f"different or missing: {', '.join(different)}" if different else "",
        f"not ours: {_names(found.foreign)}" if found.foreign else "",
        f"without {artifacts.RELEASE}" if len(others) == len(assets) else "",
    )
    if any(differences):
        raise RefusedError(
            f"{release.tag_name} is published already, with other assets ({'; '.join(filter(None, differences))}): "
            f"{release.html_url}",
            hint="What is published is never changed. Release as the day's next version (.1, .2 and so on).",
        )


def _names(assets: Sequence[Asset]) -> str:
    return ", ".join(sorted({asset.name for asset in assets}))
