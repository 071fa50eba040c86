"""The REST calls about releases: https://docs.github.com/rest/releases/releases."""

from dataclasses import replace
from urllib.parse import quote

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.calls import REPOSITORY, full_name, simple_user, wishes
from ci.rehearsal.emulator import EMULATOR
from ci.rehearsal.pulls import PULLS
from ci.rehearsal.releases import RELEASES, Shelf, StoredRelease, timestamp
from ci.rehearsal.replies import Json, invalid, no_content, not_found, page_of, problem, reply
from ci.rehearsal.workflows import require_workflows

EDITABLE = ("tag_name", "target_commitish", "name", "body", "draft", "prerelease")
BASE = f"{REPOSITORY}/releases"

routes = web.RouteTableDef()


@routes.get(BASE)
async def list_all(request: web.Request) -> web.Response:
    can_push = request[CALLER].can_push
    found = [release for release in _shelf(request).releases.values() if can_push or not release.draft]
    page, headers = page_of(request, sorted(found, key=lambda release: release.id, reverse=True))
    return reply([request.app[RELEASES].json(release) for release in page], headers=headers)


@routes.get(f"{BASE}/latest")
async def latest(request: web.Request) -> web.Response:
    return _answer(request, _shelf(request).latest_release())


@routes.get(f"{BASE}/tags/{{tag:.+}}")
async def by_tag(request: web.Request) -> web.Response:
    return _answer(request, _shelf(request).with_tag(request.match_info["tag"]))


@routes.get(f"{BASE}/{{id}}")
async def get(request: web.Request) -> web.Response:
    return _answer(request, release_of(request))


@routes.post(BASE)
async def create(request: web.Request) -> web.Response:
    wanted, releases = await wishes(request), request.app[RELEASES]
    if not wanted.get("tag_name"):
        raise invalid(problem("Release", "tag_name", "missing_field"))
    release = StoredRelease(
        id=releases.new_id(),
        repository=full_name(request),
        author=await simple_user(request),
        tag_name=wanted["tag_name"],
        target_commitish=wanted.get("target_commitish") or (request[CALLER].repository or {})["default_branch"],
        name=wanted.get("name"),
        body=wanted.get("body"),
        draft=wanted.get("draft", False),
        prerelease=wanted.get("prerelease", False),
    )
    await require_workflows(request, release.target_commitish)
    release.created_at = _date(await _commit(request, release))
    if not release.draft:
        await _publish(request, release, wanted.get("make_latest", "true"))
    _shelf(request).releases[release.id] = release
    made = releases.json(release)
    return reply(made, status=201, headers={"Location": made["url"]})


@routes.post(f"{BASE}/generate-notes")
async def generate_notes(request: web.Request) -> web.Response:
    """The pull requests whose merges came since the previous tag, in lines as of https://github.com/cli/cli/releases.

    "target_commitish: ... Required if the supplied tag_name does not reference an existing tag. Ignored if the
    tag_name already exists."
    """
    wanted, repository, emulator = await wishes(request), full_name(request), request.app[EMULATOR]
    tag, previous = str(wanted.get("tag_name", "")), str(wanted.get("previous_tag_name", ""))
    names = (f"tags/{previous}", f"tags/{tag}", str(wanted.get("target_commitish") or f"tags/{tag}"))
    found = [await emulator.get(f"/repos/{repository}/commits/{quote(name)}") for name in names]
    before, head = found[0], found[1] or found[2]
    if before is None or head is None:
        raise not_found()
    between = await request.app[PULLS].compare(repository, before["sha"], head["sha"])
    came = {commit["sha"] for commit in between["commits"]} if between else set()
    lines = [
        f"* {pull['title']} by @{pull['user']['login']} in {pull['html_url']}\n"
        for pull in await request.app[PULLS].all(repository)
        if pull["merged"] and pull["merge_commit_sha"] in came
    ]
    page = f"{request.app[RELEASES].url}/{repository}/compare/{previous}...{tag}"
    titles = f"## What's Changed\n{''.join(lines)}\n" if lines else ""
    return reply({"name": tag, "body": f"{titles}\n**Full Changelog**: {page}"})


@routes.patch(f"{BASE}/{{id}}")
async def edit(request: web.Request) -> web.Response:
    shelf, release, wanted = _shelf(request), release_of(request), await wishes(request)
    make_latest = wanted.get("make_latest")
    _check_frozen(release, wanted)
    edited = replace(release, **{name: wanted[name] for name in EDITABLE if name in wanted})
    await require_workflows(request, edited.target_commitish)
    if edited.draft or release.draft:
        edited.created_at = _date(await _commit(request, edited))
    if release.draft and not edited.draft:
        await _publish(request, edited, make_latest or "true")
    elif make_latest:
        shelf.choose_latest(edited, make_latest)
    edited.updated_at = timestamp()
    shelf.releases[release.id] = edited
    return _answer(request, edited)


@routes.delete(f"{BASE}/{{id}}")
async def delete(request: web.Request) -> web.Response:
    release = release_of(request)
    del _shelf(request).releases[release.id]
    for asset in release.assets.values():
        asset.path.unlink(missing_ok=True)
    return no_content()


def release_of(request: web.Request) -> StoredRelease:
    """The release that the path names by its id; raises the 404."""
    number, drafts = request.match_info["id"], request[CALLER].can_push
    return request.app[RELEASES].find(full_name(request), number, drafts=drafts)


def _shelf(request: web.Request) -> Shelf:
    return request.app[RELEASES].shelf(full_name(request))


def _answer(request: web.Request, release: StoredRelease | None) -> web.Response:
    if release is None:
        raise not_found()
    return reply(request.app[RELEASES].json(release))


async def _commit(request: web.Request, release: StoredRelease) -> Json:
    """The commit a release is of: its tag's, or where there is no such tag yet, its target's.

    "target_commitish: ... Can be any branch or commit SHA. Unused if the Git tag already exists."
    """
    for name in (f"tags/{release.tag_name}", release.target_commitish):
        if commit := await request.app[EMULATOR].get(f"/repos/{release.repository}/commits/{quote(name)}"):
            return commit
    raise invalid(problem("Release", "target_commitish", "invalid"))


async def _publish(request: web.Request, release: StoredRelease, make_latest: str) -> None:
    """Publish it; its tag is made where there is none.

    "target_commitish: Specifies the commitish value that determines where the Git tag is created from."
    """
    emulator, base, shelf = request.app[EMULATOR], f"/repos/{release.repository}/git", _shelf(request)
    shelf.check_publishable(release)
    if await emulator.get(f"{base}/ref/tags/{quote(release.tag_name)}") is None:
        commit = await _commit(request, release)
        await emulator.call("POST", f"{base}/refs", {"ref": f"refs/tags/{release.tag_name}", "sha": commit["sha"]})
    shelf.publish(release, make_latest)


def _check_frozen(release: StoredRelease, wanted: Json) -> None:
    """Of an immutable release only the name and the notes can still be edited.

    https://docs.github.com/code-security/concepts/supply-chain-security/immutable-releases; the message about `draft`
    as told in https://github.com/cameronrye/openzim-mcp/pull/215
    """
    frozen = {"draft": "state", "tag_name": "tag_name", "target_commitish": "target_commitish"}
    for name, field in frozen.items():
        if release.immutable and name in wanted and wanted[name] != getattr(release, name):
            message = f"{field} cannot be changed when release is immutable"
            raise invalid(problem("Release", field, "custom", message))


def _date(commit: Json) -> str:
    """The date that counts as a release's `created_at`, to the second as GitHub has it."""
    date: str = commit["commit"]["committer"]["date"]
    return date.partition(".")[0].removesuffix("Z") + "Z"
