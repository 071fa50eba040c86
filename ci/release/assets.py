"""Are a release's assets the files that it should hold? The one comparison: of drafts, of releases, with records."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ci.github.answers import UPLOADED, Asset
from ci.records.release import AssetRecord
from ci.release.dist import LocalFile

INCOMPLETE = "is missing from the release, or incomplete"


# A file that a release should hold: one in dist/, or one that a record has.
WantedFile = LocalFile | AssetRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetComparison:
    """All assets of a release: those of the files wanted, the wrong ones under their names, and foreign ones.

    `missing` are the names of files; `problems` tells in words what is not as it should be.
    """

    right: tuple[Asset, ...]
    wrong: tuple[Asset, ...]
    foreign: tuple[Asset, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]


def is_whole(asset: Asset, file: WantedFile) -> bool:
    """Whether all bytes of an asset arrived, as many as the file has; they may be others."""
    return asset.name == file.name and asset.state == UPLOADED and asset.size == file.size


def compare_assets(
    assets: Iterable[Asset], wanted: Iterable[WantedFile], read_digest: Callable[[Asset], str]
) -> AssetComparison:
    """Compare; `read_digest` finds out the digest of an asset of which GitHub tells none: that never counts as same."""
    left = {file.name: file for file in wanted}
    right: list[Asset] = []
    wrong: list[Asset] = []
    foreign: list[Asset] = []
    problems: list[str] = []
    for asset in assets:
        if (file := left.pop(asset.name, None)) is None:
            foreign.append(asset)
            continue
        whole = is_whole(asset, file)
        sha256 = (asset.sha256 or read_digest(asset)) if whole else None
        if whole and not asset.sha256 and sha256 != file.sha256:
            sha256 = read_digest(asset)  # it may have been altered on the way
        if sha256 == file.sha256:
            right.append(asset)
            continue
        wrong.append(asset)
        other = f"is not what was tested: SHA-256 {sha256}, expected {file.sha256}"
        problems.append(f"{asset.name} {other if whole else INCOMPLETE}")
    return AssetComparison(
        right=tuple(right),
        wrong=tuple(wrong),
        foreign=tuple(foreign),
        missing=tuple(left),
        problems=(
            *problems,
            *(f"{name} {INCOMPLETE}" for name in left),
            *(f"{asset.name} is none of its files" for asset in foreign),
        ),
    )
