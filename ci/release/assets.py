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

    Of `untold` ones GitHub knows no digest, and only their bytes could tell; `missing` are the names of files.
    `problems` tells in words what is not as it should be.
    """

    right: tuple[Asset, ...]
    wrong: tuple[Asset, ...]
    untold: tuple[Asset, ...]
    foreign: tuple[Asset, ...]
    missing: tuple[str, ...]
    problems: tuple[str, ...]


def is_right(asset: Asset, file: WantedFile) -> bool | None:
    """Whether an asset is this file; None where GitHub knows no digest and only its bytes could tell."""
    if asset.name != file.name or asset.state != UPLOADED or asset.size != file.size:
        return False
    return None if asset.sha256 is None else asset.sha256 == file.sha256


def compare_assets(
    assets: Iterable[Asset], wanted: Iterable[WantedFile], read_digest: Callable[[Asset], str] | None = None
) -> AssetComparison:
    """Compare; `read_digest` finds out the digest of an asset of which GitHub tells none."""
    left = {file.name: file for file in wanted}
    found: dict[bool | None, list[Asset]] = {True: [], False: [], None: []}
    foreign: list[Asset] = []
    problems: list[str] = []
    for asset in assets:
        if (file := left.pop(asset.name, None)) is None:
            foreign.append(asset)
            continue
        same, sha256 = is_right(asset, file), asset.sha256
        if same is None and read_digest is not None:
            sha256 = read_digest(asset)
            same = sha256 == file.sha256
        found[same].append(asset)
        if same is False:
            whole = asset.state == UPLOADED and asset.size == file.size
            other = f"is not what was tested: SHA-256 {sha256}, expected {file.sha256}"
            problems.append(f"{asset.name} {other if whole else INCOMPLETE}")
    return AssetComparison(
        right=tuple(found[True]),
        wrong=tuple(found[False]),
        untold=tuple(found[None]),
        foreign=tuple(foreign),
        missing=tuple(left),
        problems=(
            *problems,
            *(f"{name} {INCOMPLETE}" for name in left),
            *(f"{asset.name} is none of its files" for asset in foreign),
        ),
    )
