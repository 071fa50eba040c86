"""The REST calls about releases: https://docs.github.com/rest/releases/releases."""

from dataclasses import replace
from urllib.parse import quote

from aiohttp import web

from ci.rehearsal.access import CALLER, Caller
from ci.rehearsal.emulator import Emulator
from ci.rehearsal.incoming import REPOSITORY, full_name, simple_user, wishes
from ci.rehearsal.paging import page_of
from ci.rehearsal.releases import DOCUMENTATION, Release, Releases, timestamp
from ci.rehearsal.replies import Json, invalid, no_content, not_found, problem, reply

EDITABLE = ("tag_name", "target_commitish", "name", "body", "draft", "prerelease")


class ReleaseRoutes:
    def __init__(self, releases: Releases, emulator: Emulator) -> None:
        self._releases = releases
        self._emulator = emulator

    def add_to(self, router: web.UrlDispatcher) -> None:
        base = f"{REPOSITORY}/releases"
        router.add_get(base, self.list_all)
        router.add_post(base, self.create)
        router.add_get(f"{base}/latest", self.latest)
        router.add_get(f"{base}/tags/{{tag:.+}}", self.by_tag)
        router.add_get(f"{base}/{{id}}", self.get)
        router.add_patch(f"{base}/{{id}}", self.edit)
        router.add_delete(f"{base}/{{id}}", self.delete)

    async def list_all(self, request: web.Request) -> web.Response:
        caller, repository = request[CALLER], full_name(request)
        found = [
            release
            for release in self._releases.shelf(repository).releases.values()
            if caller.can_push or not release.draft
        ]
        found.sort(key=lambda release: release.id, reverse=True)
        page, headers = page_of(request, found)
        return reply([self._releases.json(release) for release in page], headers=headers)

    async def get(self, request: web.Request) -> web.Response:
        release = self._find(request)
        return reply(self._releases.json(release))

    async def by_tag(self, request: web.Request) -> web.Response:
        return self._found(self._releases.shelf(full_name(request)).with_tag(request.match_info["tag"]))

    async def latest(self, request: web.Request) -> web.Response:
        return self._found(self._releases.shelf(full_name(request)).latest_release())

    def _found(self, release: Release | None) -> web.Response:
        if release is None:
            raise not_found()
        return reply(self._releases.json(release))

    async def create(self, request: web.Request) -> web.Response:
        caller, repository = request[CALLER], full_name(request)
        wanted = await wishes(request)
        tag = wanted.get("tag_name")
        if not tag:
            raise invalid(problem("Release", "tag_name", "missing_field"), documentation=DOCUMENTATION)
        release = Release(
            id=self._releases.new_id(),
            repository=repository,
            author=await simple_user(self._emulator, caller),
            tag_name=tag,
            target_commitish=wanted.get("target_commitish") or _default_branch(caller),
            name=wanted.get("name"),
            body=wanted.get("body"),
            draft=wanted.get("draft", False),
            prerelease=wanted.get("prerelease", False),
        )
        release.created_at = _date(await self._commit(release))
        if not release.draft:
            await self._publish(release, wanted.get("make_latest", "true"))
        self._releases.add(release)
        location = {"Location": self._releases.json(release)["url"]}
        return reply(self._releases.json(release), status=201, headers=location)

    async def edit(self, request: web.Request) -> web.Response:
        repository = full_name(request)
        release = self._find(request)
        wanted = await wishes(request)
        _check_frozen(release, wanted)
        edited = replace(release, **{name: wanted[name] for name in EDITABLE if name in wanted})
        shelf, make_latest = self._releases.shelf(repository), wanted.get("make_latest")
        if edited.draft or release.draft:
            edited.created_at = _date(await self._commit(edited))
        if release.draft and not edited.draft:
            await self._publish(edited, make_latest or "true")
        elif make_latest:
            shelf.choose_latest(edited, make_latest)
        edited.updated_at = timestamp()
        shelf.releases[release.id] = edited
        return reply(self._releases.json(edited))

    async def delete(self, request: web.Request) -> web.Response:
        repository = full_name(request)
        release = self._find(request)
        del self._releases.shelf(repository).releases[release.id]
        for asset in release.assets.values():
            asset.path.unlink(missing_ok=True)
        return no_content()

    def _find(self, request: web.Request) -> Release:
        return self._releases.find(full_name(request), request.match_info["id"], drafts=request[CALLER].can_push)

    async def _commit(self, release: Release) -> Json:
        """The commit a release is of: its tag's, or where there is no such tag yet, its target's.

        "target_commitish: ... Can be any branch or commit SHA. Unused if the Git tag already exists."
        """
        for name in (f"tags/{release.tag_name}", release.target_commitish):
            if commit := await self._emulator.get(f"/repos/{release.repository}/commits/{quote(name)}"):
                return commit
        raise invalid(problem("Release", "target_commitish", "invalid"), documentation=DOCUMENTATION)

    async def _publish(self, release: Release, make_latest: str) -> None:
        """Publish it; its tag is made where there is none.

        "target_commitish: Specifies the commitish value that determines where the Git tag is created from."
        """
        shelf = self._releases.shelf(release.repository)
        shelf.check_publishable(release)
        base = f"/repos/{release.repository}/git"
        if await self._emulator.get(f"{base}/ref/tags/{quote(release.tag_name)}") is None:
            commit = await self._commit(release)
            await self._emulator.call(
                "POST", f"{base}/refs", {"ref": f"refs/tags/{release.tag_name}", "sha": commit["sha"]}
            )
        shelf.publish(release, make_latest)


def _check_frozen(release: Release, wanted: Json) -> None:
    """Of an immutable release only the name and the notes can still be edited.

    https://docs.github.com/code-security/concepts/supply-chain-security/immutable-releases; the message about `draft`
    as told in https://github.com/cameronrye/openzim-mcp/pull/215
    """
    frozen = {"draft": "state", "tag_name": "tag_name", "target_commitish": "target_commitish"}
    for name, field in frozen.items():
        if release.immutable and name in wanted and wanted[name] != getattr(release, name):
            message = f"{field} cannot be changed when release is immutable"
            raise invalid(problem("Release", field, "custom", message), documentation=DOCUMENTATION)


def _default_branch(caller: Caller) -> str:
    branch: str = caller.repository["default_branch"] if caller.repository else ""
    return branch


def _date(commit: Json) -> str:
    """The date that counts as a release's `created_at`, to the second as GitHub has it."""
    date: str = commit["commit"]["committer"]["date"]
    return date.partition(".")[0].removesuffix("Z") + "Z"
