"""GitHub's own workflow parser and expression language, as a child process: see language.mjs."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from ci.rehearsal.emulator import node

# What a workflow and its contexts are made of: JSON.
Json = Any

FOLDER = Path(__file__).parent


class WorkflowError(Exception):
    """GitHub would not start this workflow, or not evaluate this expression."""


class Language:
    """The child process, asked line by line."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._parsed: dict[tuple[Path, str], Json] = {}

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Self]:
        argv = [str(node()), str(FOLDER / "language.mjs")]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=FOLDER) as process:
            yield cls(process)
            process.kill()

    def parse(self, root: Path, path: str, kind: Literal["workflow", "action"] = "workflow") -> Json:
        """A file below `root`, checked as GitHub checks it; raises WorkflowError with GitHub's words."""
        if (root, path) not in self._parsed:
            answer = self._ask({"op": "parse", "root": str(root), "path": path, "kind": kind})
            if answer["errors"]:
                raise WorkflowError(f"{path}: {'; '.join(answer['errors'])}")
            self._parsed[root, path] = answer["value"]
        return self._parsed[root, path]

    def value(self, value: Json, contexts: Json) -> Json:
        """`value` with its expressions evaluated, of whatever type they are."""
        return self._evaluate(value, contexts)["json"]

    def text(self, value: Json, contexts: Json) -> str:
        """`value` as it is written where GitHub wants text."""
        return str(self._evaluate(value, contexts)["text"])

    def texts(self, value: Json, contexts: Json) -> dict[str, str]:
        """The values of a mapping, each as text."""
        return dict(self._evaluate(value, contexts)["texts"]) if value else {}

    def holds(self, condition: Json, contexts: Json, status: Mapping[str, bool]) -> bool:
        """Whether an `if` holds; None is GitHub's default."""
        return bool(self._evaluate(condition or {"$": "success()"}, contexts, status)["truthy"])

    def _evaluate(self, value: Json, contexts: Json, status: Mapping[str, bool] | None = None) -> Json:
        return self._ask({"op": "evaluate", "value": value, "contexts": contexts, "status": status})

    def _ask(self, request: Json) -> Json:
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process has pipes")
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("GitHub's parser died: is it installed? `make setup`")
        answer = json.loads(line)
        if "failure" in answer:
            raise WorkflowError(answer["failure"])
        return answer
