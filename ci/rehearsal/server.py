"""A GitHub of one's own: emulate, and in front of it the one layer that adds what emulate does not model.

For the rehearsal of a release, and for the tests. The layer is an aiohttp server in a thread: it logs every
exchange, lets faults happen, checks tokens, answers what concerns releases and assets itself, repairs what emulate
says of references, pull requests and repositories, and passes everything else on.

Not modelled: branch protection and required checks as GitHub has them, forks, transfers to another owner, GraphQL,
webhooks, ETags of the API (conditional requests get 200); of rate limits only the low ones end, the others are faults.
"""

import asyncio
import base64
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

from aiohttp import web

from ci.host.process import held_port
from ci.rehearsal import assets, calls, pulls, release_routes, repositories
from ci.rehearsal.access import Access
from ci.rehearsal.calls import REPOSITORY
from ci.rehearsal.emulator import EMULATOR, Emulator, running_emulator
from ci.rehearsal.exchanges import UPLOADS, Exchange, ExchangeLog
from ci.rehearsal.faults import Faults
from ci.rehearsal.pulls import PULLS, PullRequests
from ci.rehearsal.releases import RELEASES, ReleaseStore
from ci.rehearsal.replies import QUIRKS, Json, Quirks
from ci.rehearsal.repositories import SETTINGS, RepositorySettings
from ci.rehearsal.tokens import Kind, Token, make_tokens

ResultT = TypeVar("ResultT")

OWNER = "fountain-coach"
DEFAULT_BRANCH = "main"
MAX_JSON_BYTES = 64 << 20
CALL_SECONDS = 120.0
SHUTDOWN_SECONDS = 1.0
ACCEPTING_TURNS = 10  # of the event loop; accepting takes three or so
# A client that is still sending when it is refused finds the answer after its last byte, not a reset connection.
LINGERING_SECONDS = 600.0


class GitHubServer:
    """A running server. Its methods are what people do at github.com; programs use `url`, as they would the API.

    `url` stands for api.github.com and for github.com, `upload_url` for uploads.github.com. `token` is an admin's.
    `quirks` are of another GitHub than today's.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.upload_url = f"{url}{UPLOADS}"
        self.owner = OWNER
        self.tokens = make_tokens(OWNER)
        self.token = self.tokens.admin.secret
        self.faults = Faults()
        self.quirks = Quirks()
        self._log = ExchangeLog()
        self._folder = folder
        self._settings: defaultdict[int, RepositorySettings] = defaultdict(RepositorySettings)
        self._releases = ReleaseStore(url, self.upload_url, folder / "assets", self.quirks)
        self._loop = asyncio.new_event_loop()
        self._access: Access
        self._emulator: Emulator
        self._pulls: PullRequests

    @classmethod
    @contextmanager
    def start(cls, folder: Path) -> Iterator[Self]:
        """A server with no repository; its files, assets above all, are in `folder`.

        Raises HostError where emulate is not installed or does not start.
        """
        # PyGithub takes answers only from the very host that it asks, and emulate says localhost. That may be ::1 too,
        # where nobody else must listen.
        with held_port() as port, socket.create_server(("127.0.0.1", port)) as listener, ExitStack() as stack:
            server = cls(folder, f"http://localhost:{port}")
            thread = threading.Thread(target=server._run, name="github", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server._loop.call_soon_threadsafe, server._loop.stop)
            site = server._site(listener)
            server._call(site.__aenter__())
            stack.callback(lambda: server._call(site.__aexit__(None, None, None)))
            stack.callback(server.faults.clear)
            yield server

    @property
    def exchanges(self) -> list[Exchange]:
        """All so far, in the order of the requests."""
        return list(self._log.exchanges)

    def create_repository(self, name: str, files: Mapping[str, str], *, private: bool = False) -> str:
        """A repository whose default branch has one commit with these files; its full name."""
        full_name: str = self._emulate("POST", "/user/repos", {"name": name, "private": private})["full_name"]
        self.commit(full_name, files, message="Begin")
        return full_name

    def show_head_as(self, repository: str, commit: str) -> None:
        """Have the commit at the head of the default branch appear under this SHA, of a commit made elsewhere."""
        head = self.branch_head(repository)
        if head is None:
            raise ValueError(f"{repository} has no commit")
        self._emulator.show_as(repository, head, commit)

    def job_token(self, repository: str, **permissions: str) -> Token:
        """The GITHUB_TOKEN of a job with these `permissions`, such as `contents="write"`; a fork's has `read` ones."""
        number = self._emulate("GET", f"/repos/{repository}")["id"]
        bot = "github-actions[bot]"
        return self._access.add(Token(login=bot, kind=Kind.WORKFLOW, granted=permissions, repository=number))

    def app_token(self, repository: str | None = None, **permissions: str) -> Token:
        """An installation's token, for one repository or all of the owner's."""
        number = self._emulate("GET", f"/repos/{repository}")["id"] if repository else None
        return self._access.add(Token(login="app[bot]", kind=Kind.APP, granted=permissions, repository=number))

    def add_token(self, token: Token) -> Token:
        return self._access.add(token)

    def expire(self, token: Token) -> None:
        self._access.expire(token)

    def allow_pulls_of_actions(self, repository: str, *, allow: bool = True) -> None:
        """Set "Allow GitHub Actions to create and approve pull requests", without which no GITHUB_TOKEN opens one."""
        repositories = self._pulls.open_to_actions
        (repositories.add if allow else repositories.discard)(repository)

    def rename(self, repository: str, name: str) -> str:
        """Give a repository another name; its full one."""
        full_name = self._call(self._emulator.rename(repository, name))
        self._releases.rename(repository, full_name)
        self._pulls.rename(repository, full_name)
        return full_name

    def change(self, repository: str, **settings: object) -> None:
        """Change settings, such as `archived`, `private` or `default_branch`."""
        self._emulate("PATCH", f"/repos/{repository}", settings)

    def settings(self, repository: str) -> RepositorySettings:
        """What is set in a repository, to be changed in place."""
        return self._settings[self._emulate("GET", f"/repos/{repository}")["id"]]

    def set_immutable_releases(self, repository: str, *, enabled: bool) -> None:
        self._releases.shelf(repository).immutable = enabled

    def commit(
        self,
        repository: str,
        files: Mapping[str, str | None],
        *,
        branch: str = DEFAULT_BRANCH,
        message: str = "Change something",
        author: Mapping[str, str] | None = None,
    ) -> str:
        """Commit files, None for those to delete, to a branch; its SHA. A branch that is not there starts at main."""
        git, head = f"/repos/{repository}/git", self.branch_head(repository, branch)
        parent = head or self.branch_head(repository)
        tree: Json = {"tree": [_entry(path, text) for path, text in files.items()]}
        if parent is not None:
            tree["base_tree"] = self._emulate("GET", f"{git}/commits/{parent}")["tree"]["sha"]
        made = self._emulate("POST", f"{git}/trees", tree)
        commit: Json = {"message": message, "tree": made["sha"], "parents": [parent] if parent else []}
        if author:
            commit["author"] = commit["committer"] = dict(author)
        sha: str = self._emulate("POST", f"{git}/commits", commit)["sha"]
        if head is None:
            self._emulate("POST", f"{git}/refs", {"ref": f"refs/heads/{branch}", "sha": sha})
        else:
            self._emulate("PATCH", f"{git}/refs/heads/{quote(branch)}", {"sha": sha})
        return sha

    def branch_head(self, repository: str, branch: str = DEFAULT_BRANCH) -> str | None:
        """The commit a branch is at, None where there is no such branch."""
        return self._call(self._emulator.branch_head(repository, branch))

    def tag_commit(self, repository: str, tag: str) -> str | None:
        found = self._call(self._emulator.get(f"/repos/{repository}/commits/{quote(f'tags/{tag}')}"))
        return found["sha"] if found else None

    def read(self, repository: str, path: str, *, ref: str = DEFAULT_BRANCH) -> str | None:
        """The text of a file, None where there is none."""
        entry = self._call(self._emulator.get(f"/repos/{repository}/contents/{quote(path)}", {"ref": ref}))
        if entry is None:
            return None
        return base64.b64decode(
            self._emulate("GET", f"/repos/{repository}/git/blobs/{entry['sha']}")["content"]
        ).decode()

    def close_pull(self, repository: str, number: int) -> None:
        self._call(self._pulls.close(repository, number))

    def merge_pull(self, repository: str, number: int) -> str:
        """Merge a pull request; the merge commit's SHA."""
        return self._call(self._pulls.merge(repository, number))

    def pulls(self, repository: str) -> list[Json]:
        """All pull requests, closed ones too, oldest first."""
        return self._call(self._pulls.all(repository))

    def releases(self, repository: str) -> list[Json]:
        """All releases, drafts too, oldest first."""
        return [self._releases.json(release) for release in self._releases.shelf(repository).releases.values()]

    def asset_bytes(self, asset_id: int) -> Path:
        """The file with an asset's bytes."""
        return self._releases.asset(str(asset_id)).path

    def plant_starter(self, repository: str, release_id: int, name: str) -> int:
        """The empty asset that a failed upload leaves; its id."""
        release = self._releases.find(repository, str(release_id), drafts=True)
        return self._releases.add_asset(release, name, release.author).id

    # -- the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:  # which cancels what is left when it is closed
            runner.get_loop().run_forever()

    @asynccontextmanager
    async def _site(self, listener: socket.socket) -> AsyncIterator[None]:
        async with running_emulator(self._folder, url=self.url, owner=OWNER) as self._emulator:
            self._pulls = PullRequests(self._emulator)
            self._access = Access(self.tokens, self._emulator)
            app = web.Application(
                middlewares=[self._log.middleware, self.faults.middleware, self._access.middleware],
                client_max_size=MAX_JSON_BYTES,
            )
            app[EMULATOR], app[RELEASES], app[PULLS] = self._emulator, self._releases, self._pulls
            app[QUIRKS], app[SETTINGS] = self.quirks, self._settings
            for route in (*repositories.routes, *release_routes.routes, *assets.routes, *pulls.routes):
                if isinstance(route, web.RouteDef):
                    # A repository is found by its id as well; its former names lead there.
                    paths = {route.path, route.path.replace(REPOSITORY, "/repositories/{repository_id}")}
                    app.add_routes([web.RouteDef(route.method, path, route.handler, route.kwargs) for path in paths])
            app.add_routes(calls.everything_else)
            runner = web.AppRunner(
                app, shutdown_timeout=SHUTDOWN_SECONDS, lingering_time=LINGERING_SECONDS, access_log=None
            )
            await runner.setup()
            try:
                await web.SockSite(runner, listener).start()
                yield
            finally:
                # asyncio loses a connection that it is accepting when its server closes:
                # https://github.com/python/cpython/issues/109564
                for _ in range(ACCEPTING_TURNS):
                    await asyncio.sleep(0)
                await runner.cleanup()

    def _emulate(self, method: str, path: str, body: Json | None = None) -> Json:
        return self._call(self._emulator.call(method, path, body))

    def _call(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)


def _entry(path: str, text: str | None) -> Json:
    content = {"sha": None} if text is None else {"content": text}
    return {"path": path, "mode": "100644", "type": "blob"} | content
