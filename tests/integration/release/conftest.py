"""A GitHub for each module, and a repository in it for each test."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from ci.rehearsal.server import GitHubServer
from ci.rehearsal.tokens import WRITES
from tests.support.stage import FILES, Stage

_numbers = itertools.count(1)
_FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[_FIGURES]:
        terminalreporter.write_line(f"release: {line}")


@pytest.fixture(scope="session")
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a line for the end of the test run."""
    return request.config.stash[_FIGURES].append


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubServer]:
    with GitHubServer.start(tmp_path_factory.mktemp("github")) as server:
        yield server


@pytest.fixture(scope="module")
def make_stage(github: GitHubServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stage]:
    """Makes repositories that nothing tidies up after; as in a workflow, the token is the job's own."""

    def make(files: dict[str, str] | None = None, *, name: str = "image", private: bool = False) -> Stage:
        name = f"{name}-{next(_numbers)}"
        repository = github.create_repository(name, FILES if files is None else files, private=private)
        github.allow_pulls_of_actions(repository)
        environ = {
            "GITHUB_API_URL": github.url,
            "GITHUB_SERVER_URL": github.url,
            "GITHUB_REPOSITORY": repository,
            "GITHUB_TOKEN": github.job_token(repository, **WRITES).secret,
        }
        return Stage(server=github, repository=repository, folder=tmp_path_factory.mktemp(name), environ=environ)

    return make


@pytest.fixture
def new_stage(github: GitHubServer, make_stage: Callable[..., Stage]) -> Iterator[Callable[..., Stage]]:
    """Makes repositories; what was armed and did not happen is disarmed at the end."""
    yield make_stage
    github.faults.clear()


@pytest.fixture
def stage(new_stage: Callable[..., Stage]) -> Stage:
    return new_stage()


@pytest.fixture
def published(stage: Stage) -> Stage:
    stage.build()
    assert stage.publish().code == 0
    return stage
