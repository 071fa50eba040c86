"""Publishing a release: look at what is there, plan what is missing, do it, and make it public last."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ci.github.answers import Asset, Release, RepositoryFacts
from ci.github.client import GitHub
from ci.host.errors import RefusedError, RejectedError, VerificationError
from ci.release import state
from ci.release.assets import compare_assets, is_right
from ci.release.dist import LocalFile
from ci.release.state import PublishPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is to be published. `files` are in the order in which they are uploaded."""

    tag: str
    commit: str
    body: str
    latest: bool
    files: tuple[LocalFile, ...]


def preflight(github: GitHub, tag: str, commit: str) -> list[Release]:
    """All releases of the repository, once it is clear that the release could be made.

    Raises RefusedError, before anything is written.
    """
    require_open(github, github.repository())
    tagged = github.tag_commit(tag)
    if tagged is not None and tagged != commit:
        raise RefusedError(
            f"the tag {tag} is on commit {tagged}, the image was built from {commit}",
            hint="Build from the tagged commit, or release as the day's next version (.1, .2 and so on).",
        )
    return github.releases()


def require_open(github: GitHub, repository: RepositoryFacts) -> None:
    """Raise RefusedError where nobody can write to the repository; whether the token may, its first write tells."""
    if repository.full_name.lower() != github.context.repository.lower():
        raise RefusedError(
            f"{github.context.repository} is now called {repository.full_name}", hint="Use the new name."
        )
    if repository.archived:
        raise RefusedError(f"{repository.full_name} is archived", hint="Unarchive it in its settings.")


def examine(github: GitHub, releases: Sequence[Release], proposal: Proposal) -> PublishPlan:
    """Compare GitHub with the proposal; raises RefusedError where nothing may be done."""
    found = state.find(proposal.tag, releases)
    if found is None:
        return PublishPlan(upload=proposal.files)
    assets = github.assets(found)
    if found.draft:
        return state.plan_draft(found, assets, proposal.files)
    state.require_same(found, assets, proposal.files)
    return PublishPlan(release=found)


def described(plan: PublishPlan, proposal: Proposal) -> Iterator[str]:
    """What is there and each step, in words."""
    if plan.published:
        yield f"{proposal.tag}: published, with these very assets"
        yield "nothing to do"
        return
    if plan.release is None:
        yield f"{proposal.tag}: absent"
        yield f"would create the draft of {proposal.tag} at {proposal.commit}"
    else:
        yield f"{proposal.tag}: draft, {'not all' if plan.upload else 'all'} assets right"
    for asset in plan.remove:
        yield f"would remove {asset.name} from the draft (state {asset.state}, {asset.size} bytes)"
    for file in plan.upload:
        yield f"would upload {file.name} ({file.size} bytes, SHA-256 {file.sha256})"
    yield f"would publish {proposal.tag}{' as the latest release' if proposal.latest else ''}"


def carry_out(github: GitHub, plan: PublishPlan, proposal: Proposal) -> Release:
    """Take the steps; returns the published release. Nothing is public before every asset has been compared.

    Each step is safe to repeat, and a run that was cut off is continued by the next.
    """
    release = plan.release or _create(github, proposal)
    if plan.published:
        return release
    for asset in plan.remove:
        github.delete_asset(asset)
    for file in plan.upload:
        _upload(github, release, file)
    _require_right(github, release, github.assets(release), proposal)
    with _explained_refusals(proposal):
        published = github.publish(release, commit=proposal.commit, body=proposal.body, latest=proposal.latest)
    _require_right(github, published, published.assets, proposal)
    return published


def _create(github: GitHub, proposal: Proposal) -> Release:
    def done() -> Release | None:
        return state.find(proposal.tag, github.releases())

    with _explained_refusals(proposal):
        return github.create_draft(proposal.tag, proposal.commit, proposal.body, done)


def _upload(github: GitHub, release: Release, file: LocalFile) -> None:
    def done() -> Asset | None:
        """An earlier attempt's asset, if it is whole; a wreck of one blocks the name and is removed."""
        for asset in github.assets(release):
            if asset.name == file.name:
                if compare_assets([asset], [file], github.sha256).right:
                    return asset
                github.delete_asset(asset)
        return None

    asset = github.upload(release, file.path, done)
    if is_right(asset, file) is False:
        github.delete_asset(asset)
        raise VerificationError(
            f"GitHub has {asset.name} as {asset.size} bytes with digest {asset.digest}, "
            f"it is {file.size} bytes with SHA-256 {file.sha256}",
            hint="The file may have changed while it was uploaded; run it again.",
        )


def _require_right(github: GitHub, release: Release, assets: Sequence[Asset], proposal: Proposal) -> None:
    """Raise VerificationError unless the release holds exactly the proposal's files."""
    if problems := compare_assets(assets, proposal.files, github.sha256).problems:
        raise VerificationError(
            f"the assets of {release.html_url} are not those that were tested: {problems[0]}",
            hint="Run it again: it removes what is broken and uploads what is missing, as long as it is a draft.",
            details="\n".join(problems),
        )


@contextmanager
def _explained_refusals(proposal: Proposal) -> Iterator[None]:
    """Say what to do about a refusal that can be foreseen, but is told only by the refusal."""
    try:
        yield
    except RejectedError as refusal:
        if "used by an immutable release" in refusal.message:
            raise RefusedError(
                f"the tag {proposal.tag} was used by an immutable release, and can never be used again",
                hint="Delete the draft, and release as the day's next version (.1, .2 and so on).",
            ) from refusal
        if "target_commitish" in refusal.message:
            raise RefusedError(
                f"GitHub does not know the commit {proposal.commit}", hint="Push it, then run this again."
            ) from refusal
        raise
