"""Repositories, their settings and references, and who one is: emulate's, with what it lacks and what GitHub refuses.

https://docs.github.com/rest/repos/repos, https://docs.github.com/rest/git/refs
"""

from typing import Any

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.calls import REPOSITORY, forward, forwarded, full_name, wishes
from ci.rehearsal.pulls import PULLS
from ci.rehearsal.releases import CREATION_RESTRICTED, RELEASES
from ci.rehearsal.replies import ApiError, Json, no_content, not_found, reply
from ci.rehearsal.workflows import require_no_workflow, require_workflows

# What the schema `full-repository` requires and emulate leaves out.
MISSING: Json = {"network_count": 0, "subscribers_count": 0, "has_discussions": False, "temp_clone_token": ""}
REFS = f"{REPOSITORY}/git/refs"

routes = web.RouteTableDef()


@routes.get(REPOSITORY)
async def get(request: web.Request) -> web.Response:
    caller = request[CALLER]
    body = MISSING | await forwarded(request)
    body["pushed_at"] = body["pushed_at"] or body["created_at"]
    body.pop("permissions", None)
    if caller.token and (permissions := caller.token.permissions(body)):
        body["permissions"] = permissions
    return reply(body)


@routes.get(f"{REPOSITORY}/immutable-releases")
async def immutable_releases(request: web.Request) -> web.Response:
    """200 where they are enabled, 404 where not; "the authenticated user must have admin read access"."""
    if not request.app[RELEASES].shelf(full_name(request)).immutable:
        raise not_found()
    return reply({"enabled": True, "enforced_by_owner": False})


@routes.get("/user")
async def user(request: web.Request) -> web.Response:
    token = request[CALLER].token
    if token is None:
        raise ApiError(401, "Requires authentication")
    if token.installation:
        # It is no user's: https://github.com/actions/create-github-app-token/issues/258
        raise ApiError(403, "Resource not accessible by integration")
    return reply(await forwarded(request) | {"login": token.login})


@routes.get(f"{REPOSITORY}/git/ref/{{ref:.+}}")
@routes.get(f"{REPOSITORY}/git/matching-refs/{{ref:.*}}")
async def get_ref(request: web.Request) -> web.Response:
    return reply(_repaired(await forwarded(request)))


@routes.post(REFS)
async def create_ref(request: web.Request) -> web.Response:
    wanted = await wishes(request)
    tag = str(wanted.get("ref", "")).removeprefix("refs/tags/")
    if tag in request.app[RELEASES].shelf(full_name(request)).burned:
        # As recorded in https://github.com/github-community-projects/ospo-reusable-workflows/issues/83
        raise ApiError(422, CREATION_RESTRICTED)
    await require_workflows(request, str(wanted.get("sha")))
    made = _repaired(await forwarded(request))
    return reply(made, status=201, headers={"Location": made["url"]})


@routes.patch(f"{REFS}/{{ref:.+}}")
@routes.delete(f"{REFS}/{{ref:.+}}")
async def change_ref(request: web.Request) -> web.Response:
    name, repository = request.match_info["ref"], full_name(request)
    kept = request.app[RELEASES].shelf(repository).with_tag(name.removeprefix("tags/"))
    if kept is not None and kept.immutable:
        # "Git tags cannot be moved or deleted": docs.github.com/code-security/concepts/supply-chain-security/
        # immutable-releases
        raise ApiError(422, "Repository rule violations found\n\nCannot update this protected ref.\n\n")
    if request.method == "PATCH":
        await require_workflows(request, str((await wishes(request)).get("sha")))
    answer = await forward(request)
    if answer.status == 404:
        # The description has no 404 for these two, only 422.
        raise ApiError(422, "Reference does not exist")
    body = answer.checked()
    if request.method == "DELETE":
        await request.app[PULLS].close_of_branch(repository, name.removeprefix("heads/"))
        return no_content()
    return reply(_repaired(body))


@routes.post(f"{REPOSITORY}/git/trees")
async def create_tree(request: web.Request) -> web.Response:
    require_no_workflow(request, {str(entry.get("path")) for entry in (await wishes(request)).get("tree", [])})
    return reply(await forwarded(request), status=201)


@routes.post(f"{REPOSITORY}/git/commits")
async def create_commit(request: web.Request) -> web.Response:
    await require_workflows(request, str((await wishes(request)).get("tree")))
    return reply(await forwarded(request), status=201)


def _repaired(body: Any) -> Any:  # noqa: ANN401 - one reference or a list of them
    """GitHub's `url` of a reference says `refs`: @octokit/fixtures 23.1.2, scenario git-refs."""
    if isinstance(body, list):
        return [_repaired(ref) for ref in body]
    ref: Json = body
    return ref | {"url": ref["url"].replace("/git/ref/", "/git/refs/")}
