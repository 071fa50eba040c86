"""One server for each module of tests, and a repository of its own for each test."""

import itertools
import re
from collections.abc import Iterator

import pytest
from github import Auth, Github
from github.Repository import Repository

from ci.rehearsal.server import GitHubServer
from tests.support.calls import Api
from tests.support.openapi.openapi import findings

_numbers = itertools.count(1)
OWN_HALF = re.compile(": (answer|undocumented status)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubServer]:
    """A server; that its own half of every exchange is one that GitHub describes, is looked at in the end."""
    with GitHubServer.start(tmp_path_factory.mktemp("github")) as running:
        yield running
    found = [message for exchange in running.exchanges for message in findings(exchange) if OWN_HALF.search(message)]
    assert not found


@pytest.fixture
def repository(server: GitHubServer) -> Iterator[str]:
    yield server.create_repository(f"image-{next(_numbers)}", {"README.md": "Hello\n", "docs/a.md": "A\n"})
    server.faults.clear()


@pytest.fixture
def api(server: GitHubServer, repository: str) -> Iterator[Api]:
    with Api(server, repository, server.tokens.admin) as calls:
        yield calls


@pytest.fixture
def client(server: GitHubServer, repository: str) -> Iterator[Repository]:
    """The repository as PyGithub sees it."""
    auth = Auth.Token(server.token)
    with Github(
        base_url=server.url, auth=auth, retry=None, seconds_between_requests=0, seconds_between_writes=0
    ) as github:
        yield github.get_repo(repository)
