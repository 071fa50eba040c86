"""Publishing a release: look at what is there, plan what is missing, do it, and make it public last.

Others may work on the same release at the same time, another run of ours too. So what decides is asked for again right
before each step that cannot be taken back, and once more after the release became public.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ci.fetch.source import AbsentError, TransientError
from ci.github.answers import UPLOADED, Asset, Release, RepositoryFacts
from ci.github.client import GitHub
from ci.host.errors import AccessError, RefusedError, RejectedError, RemoteError, ToolsmithError, VerificationError
from ci.release import state
from ci.release.assets import compare_assets, is_whole
from ci.release.dist import LocalFile
from ci.release.state import PublishPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is to be published. `files` are in the order in which they are uploaded.

    `body` is our section of its text; `tagged` tells that its tag was there before.
    """

    tag: str
    commit: str
    body: str
    latest: bool
    files: tuple[LocalFile, ...]
    tagged: bool = False


def preflight(github: GitHub, tag: str, commit: str) -> tuple[list[Release], bool]:
    """All releases of the repository, and whether the tag is there, once it is clear that the release could be made.

    Raises AccessError or RefusedError, before anything is written.
    """
    require_writable(github, github.repository(), "A release needs `contents: write`.")
    return look(github, tag, commit)


def look(github: GitHub, tag: str, commit: str) -> tuple[list[Release], bool]:
    """The same for who writes nothing."""
    found = github.tag_commit(tag)
    if found not in {None, commit}:
        raise RefusedError(
            f"the tag {tag} is on commit {found}, the image was built from {commit}",
            hint="Build from the tagged commit, or release as the day's next version (.1, .2 and so on).",
        )
    return github.releases(), found is not None


def require_writable(github: GitHub, repository: RepositoryFacts, hint: str) -> None:
    """Raise AccessError or RefusedError where the token could not write to the repository."""
    if repository.archived:
        raise RefusedError(f"{repository.full_name} is archived", hint="Unarchive it in its settings.")
    # `permissions` are those of the token's owner; a classic token may have been given less.
    enough = {"repo"} if repository.private else {"repo", "public_repo"}
    if repository.permissions.get("push") is False or (github.scopes is not None and not github.scopes & enough):
        raise AccessError(f"the token may not write to {repository.full_name}", hint=hint)


def examine(github: GitHub, releases: Sequence[Release], proposal: Proposal) -> PublishPlan:
    """Compare GitHub with the proposal; raises RefusedError where nothing may be done."""
    found, leftovers = state.find(proposal.tag, releases, proposal.files)
    _mention(github, releases, proposal.tag, [found, *leftovers])
    if found is None:
        return PublishPlan(upload=proposal.files)
    assets = github.assets(found)
    if found.draft:
        state.with_section(found, proposal.body)
        plan = state.plan_draft(found, assets, proposal.files, github.sha256)
        return replace(plan, leftovers=tuple(leftovers))
    state.require_same(found, assets, proposal.files, github.sha256)
    return PublishPlan(release=found, leftovers=tuple(leftovers))


def _mention(github: GitHub, releases: Sequence[Release], tag: str, dealt_with: Sequence[Release | None]) -> None:
    """Tell of further drafts, which a person has to look at."""
    for other in releases:
        if other.tag_name == tag and other.draft and other not in dealt_with:
            github.reporter.warn(f"there is a further draft of {tag}, which is left alone: {other.html_url}")


def described(plan: PublishPlan, proposal: Proposal) -> Iterator[str]:
    """What is there and each step, in words."""
    leftovers = [f"would remove a further draft of ours: {draft.html_url}" for draft in plan.leftovers]
    if plan.published:
        yield f"{proposal.tag}: published, with these very assets"
        yield from leftovers or ["nothing to do"]
        return
    if plan.release is None:
        yield f"{proposal.tag}: absent"
        yield f"would create the draft of {proposal.tag} at {proposal.commit}"
    else:
        yield f"{proposal.tag}: draft, {'not all' if plan.upload else 'all'} assets right"
    yield from leftovers
    for asset in plan.remove:
        yield f"would remove {asset.name} from the draft (state {asset.state}, {asset.size} bytes)"
    for file in plan.upload:
        yield f"would upload {file.name} ({file.size} bytes, SHA-256 {file.sha256})"
    yield f"would publish {proposal.tag}{' as the latest release' if proposal.latest else ''}"


def carry_out(github: GitHub, plan: PublishPlan, proposal: Proposal) -> Release:
    """Take the steps; returns the published release. Nothing is public before every asset has been compared.

    Each step is safe to repeat, and a run that was cut off is continued by the next.
    """
    if plan.release is None:
        plan = _begin(github, proposal)
    _remove_leftovers(github, plan)
    if plan.release is not None and not plan.published:
        try:
            return _complete(github, plan.release, plan, proposal)
        except (RejectedError, AbsentError):
            # Another run may have been faster; what is left to do is then refused, or has nothing to be done to.
            plan = examine(github, github.releases(), proposal)
            if not plan.published:
                raise
            _remove_leftovers(github, plan)
    if plan.release is None:
        raise RemoteError(f"the draft of {proposal.tag} vanished", hint="Run it again: it looks anew at what is there.")
    return plan.release


def _begin(github: GitHub, proposal: Proposal) -> PublishPlan:
    """Create the draft, and look again: of the drafts of several runs that began together, all take the first."""

    def done() -> Release | None:
        return state.find(proposal.tag, github.releases(), proposal.files)[0]

    commit = None if proposal.tagged else proposal.commit
    with _explained_refusals(github, proposal, commit):
        made = github.create_draft(proposal.tag, proposal.body, done, commit=commit)
    releases = github.releases()
    # A list may lag behind.
    known = any(release.id == made.id for release in releases)
    return examine(github, releases if known else [*releases, made], proposal)


def _remove_leftovers(github: GitHub, plan: PublishPlan) -> None:
    for draft in plan.leftovers:
        try:
            now = github.release(draft.id)
        except AbsentError:
            continue
        if (now.draft, now.body, now.name) == (True, draft.body, draft.name):
            github.reporter.note(f"removing a further draft of ours: {draft.html_url}")
            github.delete_draft(draft)


def _complete(github: GitHub, release: Release, plan: PublishPlan, proposal: Proposal) -> Release:
    """Make a draft whole and publish it."""
    for asset in plan.remove:
        _remove(github, release, asset)
    for file in plan.upload:
        _upload(github, release, file)
    # Bytes that were read once are not read again: an asset's never change.
    digests: dict[int, str] = {}

    def read_digest(asset: Asset) -> str:
        if asset.id not in digests:
            digests[asset.id] = github.sha256(asset)
        return digests[asset.id]

    _require_right(release, github.assets(release), proposal, read_digest)
    published = _publish(github, release.id, proposal)
    try:
        _require_right(published, published.assets, proposal, read_digest)
        _require_tag_still(github.tag_commit(proposal.tag), proposal)
    except (RefusedError, VerificationError) as problem:
        what = _take_back(github, published)
        raise type(problem)(f"{problem.message}; {what}", hint=problem.hint, details=problem.details) from problem
    return published


def _publish(github: GitHub, number: int, proposal: Proposal) -> Release:
    """Make the draft public, as people may have edited it; raises RefusedError where its tag or text forbid it."""
    draft = github.release(number)
    if not draft.draft:
        raise AbsentError(f"the draft {draft.html_url}, which was published meanwhile")
    if draft.tag_name != proposal.tag:
        raise RefusedError(
            f"somebody made the draft of {proposal.tag} one of {draft.tag_name}: {draft.html_url}",
            hint="Give it its tag again, or delete it; then run it again.",
        )
    body = state.with_section(draft, proposal.body)
    found = github.tag_commit(proposal.tag)
    if found is not None or proposal.tagged:
        _require_tag_still(found, proposal, f"; nothing is public, the draft stays: {draft.html_url}")
    made_at = proposal.commit if found is None else None
    with _explained_refusals(github, proposal, made_at):
        return github.publish(
            draft,
            body=body,
            latest=proposal.latest and not draft.prerelease,
            commit=None if draft.target_commitish == made_at else made_at,
        )


def _require_tag_still(found: str | None, proposal: Proposal, so_far: str = "") -> None:
    """Raise RefusedError where the tag is not, or no longer, on the commit; `so_far` tells what there is then."""
    if found != proposal.commit:
        raise RefusedError(
            f"the tag {proposal.tag} {f'was moved to commit {found}' if found else 'was deleted'} meanwhile, the image "
            f"was built from {proposal.commit}{so_far}",
            hint="Find out who changed the tag. To have it as it was: git push --force origin "
            f"{proposal.commit}:refs/tags/{proposal.tag}; then run it again. Or release as the day's next version "
            "(.1, .2 and so on).",
        )


def _take_back(github: GitHub, published: Release) -> str:
    """Make what was just published a draft again, where that can be; what there is then, in words."""
    if published.immutable:
        return f"the release is public and immutable, do not roll it out: {published.html_url}"
    try:
        github.withdraw(published)
    except (ToolsmithError, AbsentError) as failure:
        return f"the release is public, make it a draft by hand: {published.html_url} ({failure})"
    return "it is a draft again"


def _remove(github: GitHub, release: Release, asset: Asset) -> None:
    """Remove an asset of a draft, as long as it is one."""
    if not github.release(release.id).draft:
        raise RefusedError(
            f"{release.tag_name} was published meanwhile, by another run or a person: {release.html_url}",
            hint="Run it again: it compares what is published with what is here.",
        )
    github.delete_asset(asset)


def _upload(github: GitHub, release: Release, file: LocalFile) -> None:
    def done(ours: bool) -> Asset | None:  # noqa: FBT001 - ci/github/client.py calls it
        """An asset of this name, if it is this file; a wreck, or another file, blocks the name and is removed."""
        for asset in github.assets(release):
            if asset.name == file.name:
                if compare_assets([asset], [file], github.sha256).right:
                    return asset
                if asset.state != UPLOADED and not ours:
                    raise TransientError("another run has begun to upload it, and has not ended")
                _remove(github, release, asset)
        return None

    asset = github.upload(release, file.path, done)
    if not is_whole(asset, file) or asset.sha256 not in {None, file.sha256}:
        github.delete_asset(asset)
        raise VerificationError(
            f"GitHub has {asset.name} as {asset.size} bytes with digest {asset.digest}, "
            f"it is {file.size} bytes with SHA-256 {file.sha256}",
            hint="The file may have changed while it was uploaded; run it again.",
        )


def _require_right(
    release: Release, assets: Sequence[Asset], proposal: Proposal, read_digest: Callable[[Asset], str]
) -> None:
    """Raise VerificationError unless the release holds exactly the proposal's files."""
    if problems := compare_assets(assets, proposal.files, read_digest).problems:
        raise VerificationError(
            f"the assets of {release.html_url} are not those that were tested: {problems[0]}",
            hint="Run it again: it removes what is broken and uploads what is missing, as long as it is a draft.",
            details="\n".join(problems),
        )


@contextmanager
def _explained_refusals(github: GitHub, proposal: Proposal, commit: str | None) -> Iterator[None]:
    """Say what to do about a refusal that can be foreseen, but is told only by the refusal.

    `commit` is where GitHub is to make the tag.
    """
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
    except (AccessError, AbsentError) as refusal:
        # Refused with 403, or with 404: https://github.com/cli/cli/issues/9514
        if commit is not None and github.workflows(commit) != github.workflows(None):
            raise AccessError(
                f"GitHub does not let this token make the tag {proposal.tag} at {commit}: that commit's "
                ".github/workflows are not those of the default branch, which needs the permission `workflows`; a "
                "workflow's own token cannot have it",
                hint=f"Push the tag first: git push origin {commit}:refs/tags/{proposal.tag}; then run this again "
                "(in Actions: Re-run failed jobs).",
            ) from refusal
        raise
