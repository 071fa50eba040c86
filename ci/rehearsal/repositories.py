"""Repositories, their settings and references, and who one is: emulate's, with what it lacks and what GitHub refuses.

https://docs.github.com/rest/repos/repos, https://docs.github.com/rest/git/refs
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.calls import REPOSITORY, forward, forwarded, full_name, wishes
from ci.rehearsal.emulator import EMULATOR
from ci.rehearsal.pulls import PULLS
from ci.rehearsal.releases import CREATION_RESTRICTED, RELEASES
from ci.rehearsal.replies import ApiError, Json, no_content, not_found, page_of, reply
from ci.rehearsal.workflows import require_workflows

# What the schema `full-repository` requires and emulate leaves out.
MISSING: Json = {"network_count": 0, "subscribers_count": 0, "has_discussions": False, "temp_clone_token": ""}
REFS = f"{REPOSITORY}/git/refs"

_MADE = {"created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z"}


@dataclass(slots=True, kw_only=True)
class RepositorySettings:
    """What people set at github.com, in the API's words; a new repository has what the defaults say.

    `environments` have the branches and tags that may use them, None for all; `names` are those of variables and of
    secrets, by the path that lists them.
    """

    policy: Json = field(default_factory=lambda: {"enabled": True, "allowed_actions": "all"})
    environments: dict[str, list[Json] | None] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    rulesets: list[Json] = field(default_factory=list)
    required_checks: list[str] = field(default_factory=list)
    pages: str | None = None


SETTINGS = web.AppKey("settings", defaultdict[int, RepositorySettings])

routes = web.RouteTableDef()


def _settings(request: web.Request) -> RepositorySettings:
    return request.app[SETTINGS][request[CALLER].known_repository["id"]]


@routes.get(f"{REPOSITORY}/actions/permissions")
async def actions_permissions(request: web.Request) -> web.Response:
    return reply(_settings(request).policy)


@routes.get(f"{REPOSITORY}/actions/permissions/workflow")
async def workflow_permissions(request: web.Request) -> web.Response:
    may = full_name(request) in request.app[PULLS].open_to_actions
    return reply({"default_workflow_permissions": "read", "can_approve_pull_request_reviews": may})


@routes.get(f"{REPOSITORY}/{{path:(actions|environments/[^/]+)}}/{{kind:(organization-)?(variables|secrets)}}")
async def names(request: web.Request) -> web.Response:
    """Of what is in an environment that is not there: 404, as of anything that is not there."""
    where, kind = request.match_info["path"], request.match_info["kind"]
    place, _, environment = where.partition("/")
    if place == "environments" and environment not in _settings(request).environments:
        raise not_found()
    value = {"value": "1"} if kind.endswith("variables") else {}
    found = [{"name": name} | value | _MADE for name in _settings(request).names.get(f"{where}/{kind}", ())]
    return _counted(request, kind.removeprefix("organization-"), found)


@routes.get(f"{REPOSITORY}/environments")
async def environments(request: web.Request) -> web.Response:
    url = f"{request.app[RELEASES].url}/repos/{full_name(request)}/environments"
    chosen = {"protected_branches": False, "custom_branch_policies": True}
    found = [
        {"id": number, "node_id": f"EN_{number}", "name": name, "url": f"{url}/{name}", "html_url": f"{url}/{name}"}
        | {"protection_rules": [], "deployment_branch_policy": None if open_to is None else chosen}
        | _MADE
        for number, (name, open_to) in enumerate(_settings(request).environments.items(), start=1)
    ]
    return _counted(request, "environments", found)


@routes.get(f"{REPOSITORY}/environments/{{name}}/deployment-branch-policies")
async def branch_policies(request: web.Request) -> web.Response:
    open_to = _settings(request).environments.get(request.match_info["name"])
    if open_to is None:
        raise not_found()
    return _counted(request, "branch_policies", open_to)


@routes.get(f"{REPOSITORY}/rulesets")
async def rulesets(request: web.Request) -> web.Response:
    """A list tells neither conditions nor rules: https://docs.github.com/rest/repos/rules#get-all-repository-rulesets."""
    kept = [
        {key: value for key, value in ruleset.items() if key not in {"conditions", "rules"}}
        for ruleset in _settings(request).rulesets
        if ruleset["target"] in request.query.get("targets", ruleset["target"]).split(",")
    ]
    page, headers = page_of(request, kept)
    return reply([*page], headers=headers)


@routes.get(f"{REPOSITORY}/rulesets/{{id}}")
async def ruleset(request: web.Request) -> web.Response:
    for kept in _settings(request).rulesets:
        if str(kept["id"]) == request.match_info["id"]:
            return reply(kept)
    raise not_found()


@routes.get(f"{REPOSITORY}/rules/branches/{{branch}}")
async def branch_rules(request: web.Request) -> web.Response:
    """Those in force; only rulesets that are for the default branch, or for all, are known here."""
    rules = [
        rule | {"ruleset_source_type": "Repository", "ruleset_source": kept["source"], "ruleset_id": kept["id"]}
        for kept in _settings(request).rulesets
        if kept["enforcement"] == "active"
        and kept["target"] == "branch"
        and {"~ALL", "~DEFAULT_BRANCH"} & {*kept["conditions"]["ref_name"]["include"]}
        for rule in kept["rules"]
    ]
    page, headers = page_of(request, rules)
    return reply([*page], headers=headers)


@routes.get(f"{REPOSITORY}/branches/{{branch}}")
async def branch(request: web.Request) -> web.Response:
    """With what the older branch protection requires."""
    name, checks = request.match_info["branch"], _settings(request).required_checks
    commit = await request.app[EMULATOR].get(f"/repos/{full_name(request)}/commits/{quote(name, safe='')}")
    if commit is None:
        raise not_found()
    url = f"{request.app[RELEASES].url}/repos/{full_name(request)}/branches/{name}"
    required = {"enforcement_level": "everyone" if checks else "off", "contexts": checks, "checks": []}
    return reply(
        {
            "name": name, "commit": commit, "_links": {"self": url, "html": url}, "protected": bool(checks),
            "protection": {"enabled": bool(checks), "required_status_checks": required},
            "protection_url": f"{url}/protection",
        }
    )  # fmt: skip


@routes.get(f"{REPOSITORY}/pages")
async def pages(request: web.Request) -> web.Response:
    kind = _settings(request).pages
    if kind is None:
        raise not_found()
    url = f"{request.app[RELEASES].url}/repos/{full_name(request)}/pages"
    site = {"url": url, "status": "built", "cname": None, "custom_404": False, "public": True, "build_type": kind}
    return reply(site)


def _counted(request: web.Request, what: str, found: list[Json]) -> web.Response:
    page, headers = page_of(request, found)
    return reply({"total_count": len(found), what: [*page]}, headers=headers)


@routes.get(REPOSITORY)
async def get(request: web.Request) -> web.Response:
    caller = request[CALLER]
    body = MISSING | await forwarded(request)
    body["pushed_at"] = body["pushed_at"] or body["created_at"]
    body["has_pages"] = _settings(request).pages is not None
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
@routes.post(f"{REPOSITORY}/git/commits")
async def create_object(request: web.Request) -> web.Response:
    made = await forwarded(request)
    # Nothing points to it yet, so that it may be made before it is refused.
    await require_workflows(request, made["sha"])
    return reply(made, status=201)


def _repaired(body: Any) -> Any:  # noqa: ANN401 - one reference or a list of them
    """GitHub's `url` of a reference says `refs`: @octokit/fixtures 23.1.2, scenario git-refs."""
    if isinstance(body, list):
        return [_repaired(ref) for ref in body]
    ref: Json = body
    return ref | {"url": ref["url"].replace("/git/ref/", "/git/refs/")}
