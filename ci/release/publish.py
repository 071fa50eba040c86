"""Publishing a release: look at what is there, plan what is missing, do it, and make it public last."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from ci.github.answers import Asset, Release, RepositoryFacts
from ci.github.client import GitHub
from ci.host.errors import AccessError, RefusedError, RejectedError, ToolsmithError, VerificationError
from ci.release import state
from ci.release.assets import compare_assets, is_right
from ci.release.dist import LocalFile
from ci.release.state import Situation, Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is to be published. `files` are in the order in which they are uploaded."""

    tag: str
    commit: str
    body: str
    latest: bool
    files: tuple[LocalFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create the draft."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove an asset from the draft: a broken upload, or a file of an earlier build."""

    asset: Asset


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Add a file to the draft."""

    file: LocalFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Make the draft public."""


Action = Create | Remove | Upload | Publish


def preflight(github: GitHub, tag: str, commit: str) -> list[Release]:
    """All releases of the repository, once it is clear that the release could be made.

    Raises AccessError or RefusedError, before anything is written.
    """
    require_writable(github, github.repository(), "A release needs `contents: write`.")
    tagged = github.tag_commit(tag)
    if tagged is not None and tagged != commit:
        raise RefusedError(
            f"the tag {tag} is on commit {tagged}, the image was built from {commit}",
            hint="Build from the tagged commit, or release as the day's next version (.1, .2 and so on).",
        )
    return github.releases()


def require_writable(github: GitHub, repository: RepositoryFacts, hint: str) -> None:
    """Raise AccessError or RefusedError where the token could not write to the repository."""
    if repository.full_name.lower() != github.context.repository.lower():
        raise RefusedError(
            f"{github.context.repository} is now called {repository.full_name}", hint="Use the new name."
        )
    if repository.archived:
        raise RefusedError(f"{repository.full_name} is archived", hint="Unarchive it in its settings.")
    # `permissions` are those of the token's owner; a classic token may have been given less.
    enough = {"repo"} if repository.private else {"repo", "public_repo"}
    if repository.permissions.get("push") is False or (github.scopes is not None and not github.scopes & enough):
        raise AccessError(f"the token may not write to {repository.full_name}", hint=hint)


def examine(github: GitHub, releases: Sequence[Release], proposal: Proposal) -> Situation:
    """Compare GitHub with the proposal; raises RefusedError where nothing may be done."""
    found = state.find(proposal.tag, releases)
    if found is None:
        return Situation(standing=Standing.ABSENT)
    assets = github.assets(found)
    if found.draft:
        return state.classify_draft(found, assets, proposal.files)
    state.require_same(found, assets, proposal.files)
    return Situation(standing=Standing.PUBLISHED, release=found, right=assets)


def plan(situation: Situation, proposal: Proposal) -> tuple[Action, ...]:
    """The steps that are still to be taken."""
    if situation.standing is Standing.PUBLISHED:
        return ()
    there = {asset.name for asset in situation.right}
    return (
        *([Create()] if situation.release is None else []),
        *(Remove(asset=asset) for asset in situation.wrong),
        *(Upload(file=file) for file in proposal.files if file.name not in there),
        Publish(),
    )


def describe(action: Action, proposal: Proposal) -> str:
    """An action in words."""
    match action:
        case Create():
            return f"create the draft of {proposal.tag} at {proposal.commit}"
        case Remove(asset=asset):
            return f"remove {asset.name} from the draft (state {asset.state}, {asset.size} bytes)"
        case Upload(file=file):
            return f"upload {file.name} ({file.size} bytes, SHA-256 {file.sha256})"
        case Publish():
            return f"publish {proposal.tag}{' as the latest release' if proposal.latest else ''}"
        case _:
            assert_never(action)


class Publisher:
    """Carries a plan out. Each step is safe to repeat, and a run that was cut off is continued by the next."""

    def __init__(self, github: GitHub, proposal: Proposal) -> None:
        self._github = github
        self._proposal = proposal

    def carry_out(self, actions: Sequence[Action], situation: Situation) -> Release:
        """Take the steps; returns the published release. Nothing is public before every asset has been compared."""
        release = situation.release
        for action in actions:
            match action:
                case Create():
                    release = self._create()
                case Remove(asset=asset):
                    self._github.delete_asset(asset)
                case Upload(file=file):
                    self._upload(_known(release), file)
                case Publish():
                    release = self._publish(_known(release))
                case _:
                    assert_never(action)
        return _known(release)

    def _create(self) -> Release:
        proposal = self._proposal

        def done() -> Release | None:
            return state.find(proposal.tag, self._github.releases())

        try:
            return self._github.create_draft(proposal.tag, proposal.commit, proposal.body, done)
        except RejectedError as refusal:
            raise _explained(refusal, proposal) from refusal

    def _upload(self, release: Release, file: LocalFile) -> None:
        def done() -> Asset | None:
            """An earlier attempt's asset, if it is whole; a wreck of one blocks the name and is removed."""
            for asset in self._github.assets(release):
                if asset.name == file.name:
                    if compare_assets([asset], [file], self._github.sha256).right:
                        return asset
                    self._github.delete_asset(asset)
            return None

        asset = self._github.upload(release, file.path, done)
        if is_right(asset, file) is False:
            self._github.delete_asset(asset)
            raise VerificationError(
                f"GitHub has {asset.name} as {asset.size} bytes with digest {asset.digest}, "
                f"it is {file.size} bytes with SHA-256 {file.sha256}",
                hint="The file may have changed while it was uploaded; run it again.",
            )

    def _publish(self, release: Release) -> Release:
        proposal = self._proposal
        self._compare(release, self._github.assets(release))
        try:
            published = self._github.publish(
                release, commit=proposal.commit, body=proposal.body, latest=proposal.latest
            )
        except RejectedError as refusal:
            raise _explained(refusal, proposal) from refusal
        self._compare(published, published.assets)
        return published

    def _compare(self, release: Release, assets: Sequence[Asset]) -> None:
        """Raise VerificationError unless the release holds exactly the proposal's files."""
        if problems := compare_assets(assets, self._proposal.files, self._github.sha256).problems:
            raise VerificationError(
                f"the assets of {release.html_url} are not those that were tested: {problems[0]}",
                hint="Run it again: it removes what is broken and uploads what is missing, as long as it is a draft.",
                details="\n".join(problems),
            )


def _explained(refusal: RejectedError, proposal: Proposal) -> ToolsmithError:
    """What to do about a refusal that can be foreseen, but is told only by the refusal."""
    if "used by an immutable release" in refusal.message:
        return RefusedError(
            f"the tag {proposal.tag} was used by an immutable release, and can never be used again",
            hint="Delete the draft, and release as the day's next version (.1, .2 and so on).",
        )
    if "target_commitish" in refusal.message:
        return RefusedError(f"GitHub does not know the commit {proposal.commit}", hint="Push it, then run this again.")
    return RejectedError(refusal.message, codes=refusal.codes)


def _known(release: Release | None) -> Release:
    if release is None:
        raise AssertionError("a plan begins with the draft")
    return release
