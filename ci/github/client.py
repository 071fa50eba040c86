"""GitHub's REST API: the one module that knows PyGithub.

PyGithub brings authentication, encoding and pacing. Requests are made by path and answers read into the types of
ci/github/answers.py, because PyGithub's own objects fetch what they lack without being asked: a release must know each
of its calls. They are sent by ci/github/api_call.py, and repeated by ci/fetch/retry.py: PyGithub repeats uploads and
writes blindly (https://github.com/PyGithub/PyGithub/blob/v2.10.0/github/GithubRetry.py).
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import quote

import github
from github.Requester import HTTPSRequestsConnectionClass

from ci.fetch.retry import Patience, Persistence
from ci.fetch.session import USER_AGENT, PatientSession
from ci.fetch.source import AbsentError, TransientError
from ci.github.answers import (
    Asset,
    Commit,
    Comparison,
    Created,
    FolderEntry,
    GeneratedNotes,
    Pull,
    Reference,
    Release,
    RepositoryFacts,
    Switch,
)
from ci.github.api_call import RUN_AGAIN, ApiCall, errors_of_github, next_page, parsed, raise_for
from ci.github.context import Context
from ci.github.transfer import NameTakenError, Transfer
from ci.host.errors import AccessError, RejectedError, RemoteError
from ci.host.progress import Reporter

logger = logging.getLogger("ci.github")

AnswerT = TypeVar("AnswerT")
Body = Mapping[str, object]

PER_PAGE = 100
# GitHub lists 10,000 releases at most; more comes only from what answers in its place, and would never end.
MOST_PAGES = 1000
MOST_TAGS_OF_TAGS = 10


class GitHub:
    """One repository. What fails in passing is repeated; a write only after a look whether it took effect."""

    def __init__(self, context: Context, reporter: Reporter, patience: Patience | None = None) -> None:
        self.context = context
        patience = patience or Patience()
        self.reporter = reporter
        self.persistence = Persistence(patience, reporter)
        client = github.Github(
            base_url=context.api_url,
            auth=None if context.token is None else github.Auth.Token(context.token),
            user_agent=USER_AGENT,
            seconds_between_requests=patience.seconds_between_requests,
            seconds_between_writes=patience.seconds_between_writes,
        )
        self._requester = client.requester
        self._session = PatientSession(patience)
        self._root = f"/repos/{context.repository}"
        self._transfer = Transfer(context, patience)

    # The repository

    def repository(self) -> RepositoryFacts:
        """The repository itself; raises AccessError where it does not exist for this token.

        GitHub answers to the names that a repository had before it was renamed or transferred, by its id, until
        another one takes such a name. From then on its present name is used.
        https://docs.github.com/en/repositories/creating-and-managing-repositories/renaming-a-repository
        """
        name = self.context.repository
        try:
            facts = self.read("reading the repository", "", RepositoryFacts)
        except AbsentError:
            raise AccessError(
                f"there is no repository {name}, or the token may not see it",
                hint="Check the name for typing errors, and that the token is of an account or an app with access.",
            ) from None
        if facts.full_name != name:
            if facts.full_name.lower() != name.lower():
                self.reporter.note(f"{name} is now called {facts.full_name}")
            self.context = replace(self.context, repository=facts.full_name)
            self._root = f"/repos/{facts.full_name}"
        return facts

    def is_called(self, name: str) -> bool | None:
        """Whether a name is this repository's, or was: GitHub still leads there, and to the same number.

        None where it leads nowhere, as when an account was renamed: that tells nothing.
        """
        if name.lower() == self.context.repository.lower():
            return True
        other = GitHub(replace(self.context, repository=name), self.reporter, self.persistence.patience)
        try:
            return other.repository().id == self.repository().id
        except AccessError:
            return None

    def releases_are_immutable(self) -> bool | None:
        """Whether published releases can no longer be changed; None where the token may not know."""
        try:
            return self.read("reading the repository's settings", "/immutable-releases", Switch).enabled
        except (AbsentError, AccessError):
            return None

    def tag_commit(self, tag: str) -> str | None:
        """The commit a tag points to, through an annotated tag's object; None where there is no such tag."""
        try:
            target = self.read("reading the tag", f"/git/ref/tags/{quote(tag)}", Reference).object
            for _ in range(MOST_TAGS_OF_TAGS):
                if target.type != "tag":
                    return target.sha
                target = self.read("reading the tag", f"/git/tags/{target.sha}", Reference).object
        except AbsentError:
            return None
        raise RemoteError(f"the tag {tag} is of a tag of a tag, and so on", hint="Look at who made it.")

    def workflows(self, commit: str | None) -> str | None:
        """What tells a commit's workflows, or the default branch's, from others; None where there are none."""
        query = None if commit is None else {"ref": commit}
        try:
            entries = self.read("reading .github", "/contents/.github", tuple[FolderEntry, ...], query)
        except AbsentError:
            return None
        return next((entry.sha for entry in entries if entry.name == "workflows"), None)

    # Releases

    def releases(self) -> list[Release]:
        """All releases, drafts included where the token may push."""
        return list(self.items("listing the releases", "/releases", Release))

    def release(self, number: int) -> Release:
        """A release, or a draft, as it is now."""
        return self.read("reading the release", f"/releases/{number}", Release)

    def published_release(self, tag: str) -> Release | None:
        """The published release of a tag; drafts are not found this way."""
        try:
            return self.read("reading the release", f"/releases/tags/{quote(tag)}", Release)
        except AbsentError:
            return None

    def generated_notes(self, tag: str, previous: str, *, target: str | None) -> str:
        """What GitHub would write of a release: the pull requests since the `previous` one. It saves nothing.

        https://docs.github.com/rest/releases/releases#generate-release-notes-content-for-a-release
        """
        body = {"tag_name": tag, "previous_tag_name": previous} | _target(target)
        what = "asking what was merged"
        return self.write(what, "POST", "/releases/generate-notes", body, GeneratedNotes).body

    def create_draft(self, tag: str, body: str, done: Callable[[], Release | None], *, target: str | None) -> Release:
        """Create a draft; `done` looks for one that a lost answer left. `target` is for a tag that is not there yet.

        Where the tag is there GitHub does not use it, but may refuse it all the same, to a token that may not change
        workflows: https://github.com/cli/cli/issues/9514
        """
        draft = {"tag_name": tag, "name": tag, "body": body, "draft": True} | _target(target)
        return self.write("creating the draft", "POST", "/releases", draft, Release, done=done)

    def publish(self, release: Release, *, body: str, latest: bool, target: str | None) -> Release:
        """Make a draft public: the one step that others see. What people wrote into it stays; `target` as above."""
        change = {
            "tag_name": release.tag_name,
            "draft": False,
            "make_latest": "true" if latest else "false",
        } | _target(target)
        if body != release.body:
            change["body"] = body

        def done() -> Release | None:
            now = self.release(release.id)
            return None if now.draft else now

        return self.write("publishing the release", "PATCH", f"/releases/{release.id}", change, Release, done=done)

    def withdraw(self, release: Release) -> None:
        """Make a release that was just published a draft again."""
        self.write("taking the release back", "PATCH", f"/releases/{release.id}", {"draft": True}, Release)

    def delete_draft(self, release: Release) -> None:
        """Remove a draft; one that is gone already is no failure."""
        self._delete(f"the draft {release.html_url}", f"/releases/{release.id}")

    def assets(self, release: Release) -> tuple[Asset, ...]:
        """All assets; a release's own list may leave out those that were never completed."""
        return tuple(self.items("listing the assets", f"/releases/{release.id}/assets", Asset))

    def delete_asset(self, asset: Asset) -> None:
        """Remove an asset of a draft; one that is gone already is no failure."""
        self._delete(asset.name, f"/releases/assets/{asset.id}")

    def _delete(self, what: str, path: str, absent: type[Exception] = AbsentError) -> None:
        """Remove something; `absent` is what the refusal is where it is gone already, which is no failure."""

        def call() -> None:
            with contextlib.suppress(absent):
                if self._request("DELETE", path).content:  # GitHub's answer is 204: a page came from somebody else
                    raise TransientError(f"something came in place of GitHub's answer when removing {what}")

        self.persistence.write(f"removing {what}", call)

    # The bytes of assets

    def download(self, asset: Asset) -> bytes:
        """A published small asset's bytes; raises VerificationError where they are not of GitHub's digest."""
        return self.persistence.read(f"download of {asset.name}", lambda: self._transfer.read(asset))

    def sha256(self, asset: Asset) -> str:
        """The digest of an asset's bytes, for where GitHub tells none."""
        self.reporter.note(f"GitHub tells no digest of {asset.name}; downloading it to compare")
        return self.persistence.read(f"download of {asset.name}", lambda: self._transfer.sha256(asset))

    def upload(self, release: Release, path: Path, done: Callable[[bool], Asset | None]) -> Asset:
        """Add a file to a draft; `done` looks for what an earlier attempt left, and clears its name.

        It is told whether an attempt of ours may have left it; else it is somebody else's.
        """
        ours = False

        def call() -> Asset:
            nonlocal ours
            try:
                with self.reporter.transfer(f"upload {path.name}", path.stat().st_size) as advance:
                    return self._transfer.upload(release, path, advance)
            except TransientError as failure:
                ours = ours or not isinstance(failure, NameTakenError)
                raise

        return self.persistence.write(f"upload of {path.name}", call, lambda: done(ours))

    # Branches and commits

    def branch(self, name: str) -> Commit | None:
        """The commit a branch points to; None where there is no such branch."""
        what = f"reading the branch {name}"
        try:
            head = self.read(what, f"/git/ref/heads/{quote(name)}", Reference).object
        except AbsentError:
            return None
        return self.read(what, f"/git/commits/{head.sha}", Commit)

    def commits_between(self, base: str, head: str) -> tuple[Commit, ...]:
        """The commits that `head` has and `base` has not, oldest first; 250 at most."""
        return self.read("comparing the branches", f"/compare/{base}...{head}", Comparison).commits

    def write_tree(self, parent: Commit, files: Iterable[tuple[str, str, str]]) -> str:
        """Write `parent`'s files with others in their place, each a path, a mode and a text; returns the tree."""
        entries = [{"path": path, "mode": mode, "type": "blob", "content": text} for path, mode, text in files]
        # Without base_tree, the commit would lose every other file.
        body = {"base_tree": parent.tree.sha, "tree": entries}
        return self.write("writing the files", "POST", "/git/trees", body, Created).sha

    def write_commit(self, parent: Commit, tree: str, message: str) -> Commit:
        """Make a commit; no branch points to it yet. The author is left to GitHub, which then signs it."""
        body = {"message": message, "tree": tree, "parents": [parent.sha]}
        created = self.write("writing the commit", "POST", "/git/commits", body, Created)
        return Commit(sha=created.sha, message=message, tree=Created(sha=tree), parents=(Created(sha=parent.sha),))

    def create_branch(self, name: str, commit: str) -> None:
        """Create a branch; raises RejectedError where there is one of this name already."""
        body = {"ref": f"refs/heads/{name}", "sha": commit}
        self.write(f"creating the branch {name}", "POST", "/git/refs", body, Reference)

    def delete_branch(self, name: str) -> None:
        """Remove a branch; one that is gone already is no failure."""
        self._delete(f"the branch {name}", f"/git/refs/heads/{quote(name)}", RejectedError)

    def move_branch(self, name: str, commit: str) -> None:
        """Point a branch to another commit, whatever it pointed to."""
        body = {"sha": commit, "force": True}
        self.write(f"moving the branch {name}", "PATCH", f"/git/refs/heads/{quote(name)}", body, Reference)

    # Pull requests

    def pulls(self, branch: str) -> list[Pull]:
        """All pull requests from a branch of this repository, closed ones too, newest first."""
        owner = self.context.repository.partition("/")[0]
        query = {"head": f"{owner}:{branch}", "state": "all"}
        found = self.items("looking for the pull request", "/pulls", Pull, query)
        return sorted((pull for pull in found if pull.head.ref == branch), key=lambda pull: -pull.number)

    def create_pull(self, *, branch: str, base: str, title: str, body: str) -> Pull:
        """Open a pull request, or find the one that a lost answer left."""

        def done() -> Pull | None:
            return next((pull for pull in self.pulls(branch) if pull.open), None)

        request = {"head": branch, "base": base, "title": title, "body": body}
        return self.write("opening the pull request", "POST", "/pulls", request, Pull, done=done)

    def edit_pull(self, number: int, change: Mapping[str, str]) -> Pull:
        """Change title, body or state of a pull request."""
        return self.write("updating the pull request", "PATCH", f"/pulls/{number}", change, Pull)

    # Requests

    def items(self, what: str, path: str, kind: type[AnswerT], query: Body | None = None) -> Iterator[AnswerT]:
        """The members of a list, each of its pages read when it is reached."""
        members = tuple[kind, ...]  # type: ignore[valid-type]
        for page in self.pages(what, path, members, query):
            yield from page

    def pages(self, what: str, path: str, kind: type[AnswerT], query: Body | None = None) -> Iterator[AnswerT]:
        """The pages of a list, each read when it is reached; `Link: next` decides where the list ends."""

        def read() -> tuple[AnswerT, dict[str, str] | None]:
            call = self._request("GET", path, query=asked)
            return parsed(what, kind, call.content), next_page(call.response)

        asked: dict[str, object] = {"per_page": PER_PAGE, **(query or {})}
        seen: list[dict[str, object]] = []
        while asked not in seen and len(seen) < MOST_PAGES:
            seen.append(asked)
            page, following = self.persistence.read(what, read)
            yield page
            if following is None:
                return
            asked = {**asked, **following}
        raise RemoteError(f"{what} failed: the list of {path} does not end", hint=RUN_AGAIN)

    def read(self, what: str, path: str, kind: type[AnswerT], query: Body | None = None) -> AnswerT:
        """What is at a path below the repository; raises AbsentError where there is nothing. `what` names it."""
        return self.persistence.read(what, lambda: parsed(what, kind, self._request("GET", path, query=query).content))

    def write(
        self,
        what: str,
        verb: str,
        path: str,
        body: Body,
        kind: type[AnswerT],
        *,
        done: Callable[[], AnswerT | None] = lambda: None,
    ) -> AnswerT:
        """Change something at a path below the repository; `done` looks whether a lost answer was of a success."""
        return self.persistence.write(
            what, lambda: parsed(what, kind, self._request(verb, path, body=body).content), done
        )

    def _request(self, verb: str, path: str, *, query: Body | None = None, body: Body | None = None) -> ApiCall:
        """One request to a path below the repository, once. Raises what ci/github/failures.py makes of its failure."""
        started, request = time.monotonic(), f"{verb} {path or self._root}"
        call = ApiCall(self._session, self.context.api_url)
        try:
            with errors_of_github():
                self._requester.requestJson(
                    verb,
                    f"{self._root}{path}",
                    parameters=dict(query or {}),
                    input=None if body is None else dict(body),
                    cnx=cast("HTTPSRequestsConnectionClass", call),
                )
        except TransientError as failure:
            raise TransientError(f"{failure.reason} at {request}", retry_after=failure.retry_after) from None
        finally:
            logger.debug("%s: %s, %.2f s", request, call.response.status_code, time.monotonic() - started)
        raise_for(call.response, call.content, request, self.context.api_url)
        return call


def _target(commitish: str | None) -> dict[str, object]:
    return {} if commitish is None else {"target_commitish": commitish}
