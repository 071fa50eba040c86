"""Calls of the API without a client library's own ideas."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import requests

from ci.rehearsal.server import GitHubServer
from ci.rehearsal.tokens import Token

WAIT = 60.0
BYTES = {"Content-Type": "application/octet-stream"}


class Api:
    """Requests in the name of one token; paths are those below the repository."""

    def __init__(self, server: GitHubServer, repository: str, token: Token | None) -> None:
        self.base = f"{server.url}/repos/{repository}"
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token.secret}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()

    def call(self, method: str, path: str = "", *, json: object = None, **options: Any) -> requests.Response:  # noqa: ANN401
        url = path if path.startswith("http") else self.base + path
        return self.session.request(method, url, json=json, timeout=WAIT, **options)

    def get(self, path: str = "", **options: Any) -> Any:  # noqa: ANN401 - JSON
        """The body of an answer that must be 200."""
        response = self.call("GET", path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def made(self, path: str, json: object) -> Any:  # noqa: ANN401 - JSON
        """What a POST that must succeed made."""
        response = self.call("POST", path, json=json)
        assert response.status_code == 201, response.text
        return response.json()

    def draft(self, tag: str, **fields: object) -> dict[str, Any]:
        release: dict[str, Any] = self.made("/releases", {"tag_name": tag, "draft": True, **fields})
        return release

    def edit(self, release: dict[str, Any], **fields: object) -> requests.Response:
        return self.call("PATCH", f"/releases/{release['id']}", json=fields)

    def publish(self, release: dict[str, Any], **fields: object) -> dict[str, Any]:
        response = self.edit(release, draft=False, **fields)
        assert response.status_code == 200, response.text
        published: dict[str, Any] = response.json()
        return published

    def upload(self, release: dict[str, Any], name: str, data: bytes) -> requests.Response:
        url = release["upload_url"].partition("{")[0]
        return self.session.post(url, params={"name": name}, data=data, headers=BYTES, timeout=WAIT)

    def uploaded(self, release: dict[str, Any], name: str, data: bytes) -> dict[str, Any]:
        response = self.upload(release, name, data)
        assert response.status_code == 201, response.text
        asset: dict[str, Any] = response.json()
        return asset


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does in its own time."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def errors_of(response: requests.Response) -> list[dict[str, str]]:
    """The `errors` of a 422."""
    assert response.status_code == 422, response.text
    body = response.json()
    assert body["message"] == "Validation Failed"
    errors: list[dict[str, str]] = body["errors"]
    return errors
