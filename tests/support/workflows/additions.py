"""What the local GitHub does not model and the workflows ask for: runs of workflows, and who wrote a comment."""

import re
from collections.abc import Mapping
from typing import Any

from ci.github.conversation import BOT
from ci.rehearsal.emulator import EmulatorAnswer
from ci.rehearsal.server import GitHubServer

_RUN = re.compile(r"/repos/[^/]+/[^/]+/actions/runs/(\d+)")
_COMMENTS = re.compile(r"/repos/[^/]+/[^/]+/issues/(\d+/comments|comments/\d+)")


class Additions:
    """Answers in the emulator's place. A comment is the workflow's own, unless it says that it is a person's."""

    def __init__(self, server: GitHubServer) -> None:
        self.runs: dict[int, Any] = {}
        self._request = server._emulator.request
        server._emulator.request = self.request  # type: ignore[method-assign]

    async def request(
        self, method: str, path: str, *, body: object = None, query: Mapping[str, str] | None = None
    ) -> EmulatorAnswer:
        if run := _RUN.fullmatch(path):
            known = self.runs.get(int(run[1]))
            return EmulatorAnswer(status=200 if known else 404, body=known or {"message": "Not Found"})
        answer = await self._request(method, path, body=body, query=query)
        if _COMMENTS.fullmatch(path) and answer.ok and answer.body:
            for comment in answer.body if isinstance(answer.body, list) else [answer.body]:
                if "I am a person" not in comment["body"]:
                    comment["user"] |= {"login": BOT, "type": "Bot"}
        return answer
