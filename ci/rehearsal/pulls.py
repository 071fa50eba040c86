"""Pull requests: emulate's, with the refusals it lacks, and with heads that follow their branches.

https://docs.github.com/rest/pulls/pulls. Bodies of refusals are as people have recorded them; each names where.
"""

import json
from urllib.parse import quote

from aiohttp import web

from ci.rehearsal.access import CALLER
from ci.rehearsal.calls import REPOSITORY, api_path, forward, forwarded, full_name, wishes
from ci.rehearsal.emulator import EMULATOR, Emulator
from ci.rehearsal.replies import ApiError, Json, invalid, not_found, page_size, problem, reply
from ci.rehearsal.tokens import Kind

# In a list GitHub leaves these out: schema `pull-request-simple`.
ONLY_ALONE = (
    "additions", "changed_files", "comments", "commits", "deletions", "maintainer_can_modify", "mergeable",
    "mergeable_state", "merged", "merged_by", "rebaseable", "review_comments",
)  # fmt: skip


class PullRequests:
    """What emulate does not keep of a pull request: its head when it was closed, and what it was merged as."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._closed_at: dict[tuple[str, int], str] = {}
        self._merged_as: dict[tuple[str, int], str] = {}
        # Repositories with the setting "Allow GitHub Actions to create and approve pull requests"; new ones have it
        # not: https://github.com/peter-evans/create-pull-request/issues/3979
        self.open_to_actions: set[str] = set()

    def rename(self, repository: str, name: str) -> None:
        if repository in self.open_to_actions:
            self.open_to_actions.add(name)
        for kept in (self._closed_at, self._merged_as):
            kept.update({(name, number): sha for (owner, number), sha in kept.items() if owner == repository})

    async def repaired(self, repository: str, pull: Json, *, alone: bool) -> Json:
        key = repository, pull["number"]
        head: str | None = self._closed_at.get(key)
        if pull["state"] == "open":
            head = await self._emulator.branch_head(repository, pull["head"]["ref"])
        if head is not None:
            # The head's SHA is in several places of a pull request, addresses among them.
            pull = json.loads(json.dumps(pull).replace(pull["head"]["sha"], head)) | {"base": pull["base"]}
        pull = pull | {"active_lock_reason": None}
        if not alone:
            return {name: value for name, value in pull.items() if name not in ONLY_ALONE}
        pull["merge_commit_sha"] = self._merged_as.get(key, pull["merge_commit_sha"])
        base = pull["base"]["ref"] if pull["state"] == "open" else pull["base"]["sha"]
        if between := await self.compare(repository, base, pull["head"]["sha"]):
            files = between["files"]
            pull["commits"], pull["changed_files"] = between["ahead_by"], len(files)
            for count in ("additions", "deletions"):
                pull[count] = sum(file[count] for file in files)
        return pull

    async def compare(self, repository: str, base: str, head: str) -> Json | None:
        return await self._emulator.get(f"/repos/{repository}/compare/{quote(base)}...{quote(head)}")

    async def check_new(self, repository: str, head: str, base: str) -> None:
        """Raise GitHub's 422 for a pull request that cannot be opened."""
        for field, branch in (("head", head), ("base", base)):
            if await self._emulator.branch_head(repository, branch) is None:
                raise invalid(problem("PullRequest", field, "invalid"))
        if await self.open_pull(repository, head, base) is not None:
            # https://github.com/vsoch/pull-request-action/issues/86
            taken = f"A pull request already exists for {repository.partition('/')[0]}:{head}."
            raise invalid(problem("PullRequest", "", "custom", taken))
        between = await self.compare(repository, base, head)
        if between is None or not between["ahead_by"]:
            # https://github.com/tgymnich/fork-sync/issues/112
            nothing = f"No commits between {base} and {head}"
            raise invalid(problem("PullRequest", "", "custom", nothing))

    async def check_reopening(self, repository: str, pull: Json) -> None:
        """Raise GitHub's 422 for a pull request that stays closed.

        "We're blocking the pull request reopen if the current head isn't a descendant of the stored head sha":
        https://github.com/isaacs/github/issues/361. The body: https://github.com/pytorch/pytorch/pull/114423
        """
        branch = pull["head"]["ref"]
        head = await self._emulator.branch_head(repository, branch)
        reason = None
        if pull["merged"]:
            reason = "The pull request has been merged."
        elif head is None:
            reason = f"The {branch} branch has been deleted."
        elif await self.open_pull(repository, branch, pull["base"]["ref"]) is not None:
            reason = f"There is already an open pull request from {branch} to {pull['base']['ref']}."
        else:
            closed_at = self._closed_at.get((repository, pull["number"]), pull["head"]["sha"])
            since = await self.compare(repository, closed_at, head)
            if since is None or since["status"] not in {"identical", "ahead"}:
                reason = f"The {branch} branch was force-pushed or recreated."
        if reason:
            message = f"state cannot be changed. {reason}"
            raise invalid(problem("PullRequest", "state", "custom", message))

    async def open_pull(self, repository: str, head: str, base: str) -> Json | None:
        found = await self._listed(repository, head=f"{repository.partition('/')[0]}:{head}", base=base)
        return found[0] if found else None

    async def all(self, repository: str) -> list[Json]:
        """All of them, closed ones too, oldest first."""
        found = await self._listed(repository, state="all", direction="asc", per_page="100")
        return [await self.repaired(repository, pull, alone=True) for pull in found]

    async def _listed(self, repository: str, **query: str) -> list[Json]:
        answer = await self._emulator.request("GET", f"/repos/{repository}/pulls", query=query)
        found: list[Json] = answer.checked()
        return found

    async def close(self, repository: str, number: int) -> None:
        """Close one, as a person would."""
        path = f"/repos/{repository}/pulls/{number}"
        await self.note_closing(repository, await self._emulator.call("GET", path))
        await self._emulator.call("PATCH", path, {"state": "closed"})

    async def note_closing(self, repository: str, pull: Json) -> None:
        head = await self._emulator.branch_head(repository, pull["head"]["ref"])
        if pull["state"] == "open" and head is not None:
            self._closed_at[repository, pull["number"]] = head

    async def close_of_branch(self, repository: str, branch: str) -> None:
        """GitHub closes the pull requests of a branch that is deleted."""
        for pull in await self._listed(repository, head=f"{repository.partition('/')[0]}:{branch}"):
            await self._emulator.call("PATCH", f"/repos/{repository}/pulls/{pull['number']}", {"state": "closed"})

    async def merge(self, repository: str, number: int) -> str:
        """Merge one, as a person would by the green button; the merge commit's SHA."""
        path, git = f"/repos/{repository}/pulls/{number}", f"/repos/{repository}/git"
        pull = await self._emulator.call("GET", path)
        base, head = pull["base"]["ref"], pull["head"]["ref"]
        between = await self.compare(repository, base, head)
        if between is None:
            raise not_found()
        await self.note_closing(repository, pull)
        onto, tip = between["base_commit"], between["commits"][-1]
        entries = [_entry(file) for file in between["files"]]
        tree = await self._emulator.call(
            "POST", f"{git}/trees", {"base_tree": onto["commit"]["tree"]["sha"], "tree": entries}
        )
        message = f"Merge pull request #{number} from {repository.partition('/')[0]}/{head}"
        commit = await self._emulator.call(
            "POST",
            f"{git}/commits",
            {"message": f"{message}\n\n{pull['title']}", "tree": tree["sha"], "parents": [onto["sha"], tip["sha"]]},
        )
        # emulate merges what the branches were when the pull request was opened; this is to have its state changed.
        await self._emulator.call("PUT", f"{path}/merge", {})
        await self._emulator.call("PATCH", f"{git}/refs/heads/{quote(base)}", {"sha": commit["sha"], "force": True})
        sha: str = commit["sha"]
        self._merged_as[repository, number] = sha
        return sha


PULLS = web.AppKey("pulls", PullRequests)
routes = web.RouteTableDef()


@routes.get(f"{REPOSITORY}/pulls")
async def list_all(request: web.Request) -> web.Response:
    query = dict(request.query)
    if ":" not in query.get("head", ""):
        # "Filter pulls by head user or head organization and branch name in the format of user:ref-name": a `head` of
        # another form filters nothing.
        query.pop("head", None)
    query["per_page"] = str(page_size(request))
    answer = await forward(request, query)
    pulls, repository = request.app[PULLS], full_name(request)
    return reply(
        [await pulls.repaired(repository, pull, alone=False) for pull in answer.checked()], headers=answer.links
    )


@routes.post(f"{REPOSITORY}/pulls")
async def create(request: web.Request) -> web.Response:
    repository, wanted = full_name(request), await wishes(request)
    token = request[CALLER].token
    if token and token.kind is Kind.WORKFLOW and repository not in request.app[PULLS].open_to_actions:
        # The body: https://github.com/danielroe/uppt/issues/11
        raise ApiError(403, "GitHub Actions is not permitted to create or approve pull requests.")
    for field in ("title", "head", "base"):
        if not wanted.get(field):
            raise invalid(problem("PullRequest", field, "missing_field"))
    await request.app[PULLS].check_new(repository, wanted["head"].rpartition(":")[2], wanted["base"])
    body = await _forwarded(request)
    return reply(body, status=201, headers={"Location": body["url"]})


@routes.get(rf"{REPOSITORY}/pulls/{{number:\d+}}")
async def get(request: web.Request) -> web.Response:
    return reply(await _forwarded(request))


@routes.patch(rf"{REPOSITORY}/pulls/{{number:\d+}}")
async def edit(request: web.Request) -> web.Response:
    pulls, repository, wanted = request.app[PULLS], full_name(request), await wishes(request)
    before = await request.app[EMULATOR].call("GET", api_path(request))
    if wanted.get("state") == "closed":
        await pulls.note_closing(repository, before)
    if wanted.get("state") == "open" and before["state"] == "closed":
        await pulls.check_reopening(repository, before)
    return reply(await _forwarded(request))


async def _forwarded(request: web.Request) -> Json:
    return await request.app[PULLS].repaired(full_name(request), await forwarded(request), alone=True)


def _entry(file: Json) -> Json:
    sha = None if file["status"] == "removed" else file["sha"]
    return {"path": file["filename"], "mode": "100644", "type": "blob", "sha": sha}
