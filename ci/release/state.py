"""What a release looks like on GitHub, compared with what is to be published: the ledger is theirs, not ours."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ci.github.answers import Asset, Release
from ci.host.errors import RefusedError, toolsmith
from ci.records import artifacts
from ci.release.assets import compare_assets
from ci.release.dist import LocalFile
from ci.text.markdown import Markdown

# Our section of a release's text: what is before and behind it is a person's, and is kept.
_BEGIN = (
    "<!-- fountainkit-toolsmith-image: this section is written by ci.publish_release, anew with each run; "
    "what you write above or below it stays -->"
)
_SECTION = re.compile(
    rf"(?:{re.escape(_BEGIN)}(?P<text>.*?))?"
    r"<!-- fountainkit-toolsmith-image release of [0-9a-f]{40}(?:, text (?P<digest>[0-9a-f]{64}))? -->",
    re.ASCII | re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishPlan:
    """What is there, and what is still to be done in this order: the draft, what to remove, what to upload, publishing.

    Without a `release` the draft is created first; with a published one nothing is left to do. In `remove` are broken
    uploads and files of an earlier build; `leftovers` are further drafts of ours that nobody needs.
    """

    release: Release | None = None
    remove: tuple[Asset, ...] = ()
    upload: tuple[LocalFile, ...] = ()
    leftovers: tuple[Release, ...] = ()

    @property
    def published(self) -> bool:
        """True where the release is public, with these very assets."""
        return self.release is not None and not self.release.draft


def marker(commit: str, text: str = "") -> str:
    """The comment by which a later run knows a draft for its own, and whether a person edited the text before it."""
    told = f", text {_digest(text)}" if text else ""
    return f"<!-- fountainkit-toolsmith-image release of {commit}{told} -->"


def section(commit: str, text: Markdown) -> str:
    """Our part of a release's text."""
    return f"{_BEGIN}\n{text.strip()}\n{marker(commit, text)}\n"


def is_ours(release: Release) -> bool:
    """True for a release that an earlier run of ours created."""
    return bool(_SECTION.search(release.body or ""))


def with_section(release: Release, ours: str) -> str:
    """The release's text with our section as it must be; raises RefusedError where a person edited, or took out, it."""
    body = release.body or ""
    found = _SECTION.search(body)
    if found is None or not _intact(found):
        raise RefusedError(
            f"somebody edited the section of {release.html_url} that is written anew by each run",
            hint="Move what was written above the section's first comment or below its last one, and have the section "
            "as it was, or delete the draft; then run it again.",
        )
    return body[: found.start()] + ours.strip() + body[found.end() :]


def find(tag: str, releases: Sequence[Release], files: Sequence[LocalFile]) -> tuple[Release | None, list[Release]]:
    """The published release of `tag`, or else its draft, and further drafts of ours that nobody needs.

    Raises RefusedError where there is no one answer.
    """
    same = [release for release in releases if release.tag_name == tag]
    drafts = sorted((release for release in same if release.draft), key=lambda release: release.id)
    if published := [release for release in same if not release.draft]:
        return published[0], [draft for draft in drafts if _is_untouched(draft, files)]
    # Of several the first stays, so that runs at the same time agree on one.
    further = drafts[1:]
    if further and not (is_ours(drafts[0]) and all(_is_untouched(draft, files) for draft in further)):
        raise RefusedError(
            f"there are {len(drafts)} drafts of {tag}: {', '.join(release.html_url for release in drafts)}",
            hint="Delete those that are not needed, then run it again.",
        )
    if drafts and not is_ours(drafts[0]):
        raise RefusedError(
            f"there is a draft of {tag} that this command did not make: {drafts[0].html_url}",
            hint="Delete it, or release as the day's next version (.1, .2 and so on).",
        )
    return (drafts[0] if drafts else None), further


def plan_draft(
    release: Release, assets: Sequence[Asset], wanted: Sequence[LocalFile], read_digest: Callable[[Asset], str]
) -> PublishPlan:
    """What a draft of ours lacks; raises RefusedError where somebody else added to it."""
    found = compare_assets(assets, wanted, read_digest)
    if found.foreign:
        raise RefusedError(
            f"the draft {release.html_url} holds assets that are not ours: {_names(found.foreign)}",
            hint="Remove them there: everything that is published must have been tested.",
        )
    right = {asset.name for asset in found.right}
    upload = tuple(file for file in wanted if file.name not in right)
    return PublishPlan(release=release, remove=found.wrong, upload=upload)


def require_same(
    release: Release, assets: Sequence[Asset], wanted: Sequence[LocalFile], read_digest: Callable[[Asset], str]
) -> None:
    """Raise RefusedError unless a published release holds exactly these files."""
    found = compare_assets(assets, wanted, read_digest)
    different = [*(asset.name for asset in found.wrong), *found.missing]
    where = f"{release.tag_name} is published already"
    if different == [artifacts.RELEASE] and found.wrong and not found.foreign:
        raise RefusedError(
            f"{where} with these files, but by another run, after other releases or under another name of the "
            f"repository: its {artifacts.RELEASE} is not the one of this run: {release.html_url}",
            hint=f"It is rolled out by `{toolsmith('roll-out', '--tag', release.tag_name)}`, or by the run that "
            "published it.",
        )
    differences = (
        f"different or missing: {', '.join(different)}" if different else "",
        f"not ours: {_names(found.foreign)}" if found.foreign else "",
    )
    if any(differences):
        raise RefusedError(
            f"{where}, with other assets ({'; '.join(filter(None, differences))}): {release.html_url}",
            hint="What is published is never changed. Release as the day's next version (.1, .2 and so on).",
        )


def _digest(text: str) -> str:
    """Of a text in whatever form GitHub and its editor give it back."""
    return hashlib.sha256("\n".join(text.strip().splitlines()).encode()).hexdigest()


def _intact(found: re.Match[str]) -> bool:
    return found["digest"] is None or found["digest"] == _digest(found["text"] or "")


def _is_untouched(draft: Release, files: Sequence[LocalFile]) -> bool:
    """True for a draft that is ours beyond doubt, and in which nobody wrote or put anything."""
    found = _SECTION.fullmatch((draft.body or "").strip())
    return (
        found is not None
        and found["digest"] is not None
        and _intact(found)
        and draft.name == draft.tag_name
        and not draft.prerelease
        and {asset.name for asset in draft.assets} <= {file.name for file in files}
    )


def _names(assets: Sequence[Asset]) -> str:
    return ", ".join(sorted({asset.name for asset in assets}))
