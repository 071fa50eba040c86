"""References: emulate's, with the addresses, the refusals and the protected tags that it lacks.

https://docs.github.com/rest/git/refs
"""

from typing import Any

from aiohttp import web

from ci.rehearsal.emulator import Answer, Emulator
from ci.rehearsal.incoming import REPOSITORY, full_name, wishes
from ci.rehearsal.passthrough import check, forward
from ci.rehearsal.pulls import Pulls
from ci.rehearsal.releases import CREATION_RESTRICTED, Releases
from ci.rehearsal.replies import ApiError, Json, no_content, reply

DOCUMENTATION = "https://docs.github.com/rest/git/refs"


class RefRoutes:
    def __init__(self, emulator: Emulator, releases: Releases, pulls: Pulls) -> None:
        self._emulator = emulator
        self._releases = releases
        self._pulls = pulls

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_get(f"{REPOSITORY}/git/ref/{{ref:.+}}", self.get)
        router.add_get(f"{REPOSITORY}/git/matching-refs/{{ref:.*}}", self.get)
        router.add_post(f"{REPOSITORY}/git/refs", self.create)
        router.add_patch(f"{REPOSITORY}/git/refs/{{ref:.+}}", self.change)
        router.add_delete(f"{REPOSITORY}/git/refs/{{ref:.+}}", self.change)

    async def get(self, request: web.Request) -> web.Response:
        return reply(_repaired(check(await forward(self._emulator, request))))

    async def create(self, request: web.Request) -> web.Response:
        wanted = await wishes(request)
        tag = str(wanted.get("ref", "")).removeprefix("refs/tags/")
        if tag in self._releases.shelf(full_name(request)).burned:
            raise _rule_violation(CREATION_RESTRICTED)
        answer = _repaired(check(await forward(self._emulator, request)))
        return reply(answer, status=201, headers={"Location": answer["url"]})

    async def change(self, request: web.Request) -> web.Response:
        """PATCH and DELETE."""
        name, repository = request.match_info["ref"], full_name(request)
        shelf = self._releases.shelf(repository)
        kept = shelf.with_tag(name.removeprefix("tags/"))
        if kept is not None and kept.immutable:
            # "Git tags cannot be moved or deleted": docs.github.com/code-security/concepts/supply-chain-security/
            # immutable-releases
            raise _rule_violation("Repository rule violations found\n\nCannot update this protected ref.\n\n")
        answer: Answer = await forward(self._emulator, request)
        if answer.status == 404:
            # The description has no 404 for these two, only 422.
            raise ApiError(422, "Reference does not exist", documentation=f"{DOCUMENTATION}#update-a-reference")
        body = check(answer)
        if request.method == "DELETE":
            await self._pulls.close_of_branch(repository, name.removeprefix("heads/"))
            return no_content()
        return reply(_repaired(body))


def _repaired(body: Any) -> Any:  # noqa: ANN401 - one reference or a list of them
    """GitHub's `url` of a reference says `refs`: @octokit/fixtures 23.1.2, scenario git-refs."""
    if isinstance(body, list):
        return [_repaired(ref) for ref in body]
    ref: Json = body
    return ref | {"url": ref["url"].replace("/git/ref/", "/git/refs/")}


def _rule_violation(message: str) -> ApiError:
    # As recorded in https://github.com/github-community-projects/ospo-reusable-workflows/issues/83
    return ApiError(422, message, documentation=f"{DOCUMENTATION}#create-a-reference")
