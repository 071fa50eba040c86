"""What a release looks like on GitHub, compared with what is to be published: the ledger is theirs, not ours."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ci.github.answers import Asset, Release
from ci.host.errors import RefusedError
from ci.records import artifacts
from ci.release.assets import compare_assets
from ci.release.dist import LocalFile

_MARKER = re.compile(r"<!-- fountainkit-toolsmith-image release of [0-9a-f]{40} -->", re.ASCII)


class Standing(StrEnum):
    """How far the release of a tag is."""

    ABSENT = "absent"
    DRAFT_PARTIAL = "draft, not all assets right"
    DRAFT_COMPLETE = "draft, all assets right"
    PUBLISHED = "published, with these very assets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is there. `right` assets are kept; `wrong` ones are broken or of an earlier build, and in drafts only."""

    standing: Standing
    release: Release | None = None
    right: tuple[Asset, ...] = ()
    wrong: tuple[Asset, ...] = ()


def marker(commit: str) -> str:
    """The comment in a release's body by which a later run knows a draft for its own."""
    return f"<!-- fountainkit-toolsmith-image release of {commit} -->"


def is_ours(release: Release) -> bool:
    """True for a release that an earlier run of ours created."""
    return bool(_MARKER.search(release.body or ""))


def find(tag: str, releases: Sequence[Release]) -> Release | None:
    """The published release of `tag`, or else its only draft; raises RefusedError where there is no one answer."""
    same = [release for release in releases if release.tag_name == tag]
    published = [release for release in same if not release.draft]
    drafts = [release for release in same if release.draft]
    if published:
        return published[0]
    if len(drafts) > 1:
        raise RefusedError(
            f"there are {len(drafts)} drafts of {tag}: {', '.join(release.html_url for release in drafts)}",
            hint="Delete those that are not needed, then run it again.",
        )
    if drafts and not is_ours(drafts[0]):
        raise RefusedError(
            f"there is a draft of {tag} that this command did not make: {drafts[0].html_url}",
            hint="Delete it, or release as the day's next version (.1, .2 and so on).",
        )
    return drafts[0] if drafts else None


def classify_draft(release: Release, assets: Sequence[Asset], wanted: Sequence[LocalFile]) -> Situation:
    """Compare a draft of ours with what it should hold; raises RefusedError where somebody else added to it."""
    found = compare_assets(assets, wanted)
    if found.foreign:
        raise RefusedError(
            f"the draft {release.html_url} holds assets that are not ours: {_names(found.foreign)}",
            hint="Remove them there: everything that is published must have been tested.",
        )
    wrong = (*found.wrong, *found.untold)
    standing = Standing.DRAFT_PARTIAL if wrong or found.missing else Standing.DRAFT_COMPLETE
    return Situation(standing=standing, release=release, right=found.right, wrong=wrong)


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
