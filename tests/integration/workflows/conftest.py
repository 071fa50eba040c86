"""A GitHub for all tests of the workflows, and a repository on it for each."""

import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest

from ci.rehearsal.server import GitHubServer
from tests.support.workflows import scene
from tests.support.workflows.additions import Additions
from tests.support.workflows.checkout import compile_checkout
from tests.support.workflows.engine import Settings
from tests.support.workflows.language import Language
from tests.support.workflows.model import Run
from tests.support.workflows.scene import CONSUMER, LIGHT, Scene
from tests.support.workflows.standins import GitHubSide

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJvZ3VzYm9ndXNib2d1c2JvZ3VzYm9ndXNib2d1c2Jv a test\n"
PRIVATE_KEY = "an app's private key"

MakeScene = Callable[..., Scene]

_numbers = itertools.count(1)
_RAN = pytest.StashKey[Counter[str]]()
_FAILED = pytest.StashKey[list[str]]()
_LINES_SHOWN = 30


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RAN] = Counter()
    config.stash[_FAILED] = []


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[_FAILED].clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the failed steps said: a result alone tells nobody why."""
    report = yield
    if report.failed and (logs := item.config.stash[_FAILED]):
        report.sections.append(("Failed steps", "\n".join(logs)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    ran = config.stash[_RAN]
    if not ran:
        return
    terminalreporter.write_line("workflows executed (trigger: runs, jobs, steps):")
    for trigger in sorted({name.partition("|")[0] for name in ran}):
        runs, jobs, steps = (ran[f"{trigger}|{what}"] for what in ("runs", "jobs", "steps"))
        terminalreporter.write_line(f"  {trigger}: {runs} runs, {jobs} jobs, {steps} steps")


@pytest.fixture(scope="session")
def note_run(request: pytest.FixtureRequest) -> Callable[[str, Run], None]:
    """Counts what a run executed, for the end of the test run; keeps what failed, for the test's report."""
    ran, failed = request.config.stash[_RAN], request.config.stash[_FAILED]

    def note(trigger: str, run: Run) -> None:
        executed = [job for job in run.jobs.values() if job.steps]
        ran[f"{trigger}|runs"] += 1
        ran[f"{trigger}|jobs"] += len(executed)
        ran[f"{trigger}|steps"] += sum(step.conclusion != "skipped" for job in executed for step in job.steps)
        failed.extend(
            "\n".join([f"{name}, {step.name}:", *step.log.splitlines()[-_LINES_SHOWN:]])
            for name, job in run.jobs.items()
            for step in job.steps
            if step.outcome == "failure"
        )

    return note


@pytest.fixture(scope="session")
def language() -> Iterator[Language]:
    with Language.start() as language:
        yield language


@pytest.fixture(scope="session")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHubServer]:
    with GitHubServer.start(tmp_path_factory.mktemp("github")) as server:
        yield server


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    compile_checkout(folder)
    return folder


@pytest.fixture(scope="session")
def make_scene(
    compiled: Path,
    github: GitHubServer,
    language: Language,
    note_run: Callable[[str, Run], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeScene:
    """Makes repositories; `edits` are made to the files of this one."""
    additions = Additions(github)

    def make(
        *,
        edits: Mapping[str, scene.Edit] = LIGHT,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        keys: str = KEY,
        cache: Path | None = None,
        tools: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> Scene:
        number = next(_numbers)
        folder = tmp_path_factory.mktemp(f"scene-{number}")
        scene.make_origin(folder / "origin", keys, edits)
        made = Scene(
            folder=folder,
            language=language,
            repository=github.create_repository(
                f"image-{number}", scene.server_files(folder / "origin"), private=private
            ),
            settings=Settings(variables=variables or {}, environments={"roll-out": secrets or {}}),
            side=GitHubSide(origin=folder / "origin", artifacts=folder / "artifacts", server=github),
            cache=cache or folder / "cache",
            compiled=compiled,
            tools=tools or {},
            private=private,
            runs=additions.runs,
            note=note_run,
        )
        github.show_head_as(made.repository, made.head())
        github.allow_pulls_of_actions(made.repository)
        return made

    return make


@pytest.fixture
def consumer(github: GitHubServer) -> str:
    """FountainKit's repository."""
    return github.create_repository(f"{CONSUMER}-{next(_numbers)}", scene.consumer_files())


@pytest.fixture
def with_app(consumer: str) -> dict[str, Mapping[str, str]]:
    """Settings of a repository for which an app is configured, FountainKit's repository included."""
    owner, _, name = consumer.partition("/")
    return {
        "variables": {"ROLLOUT_APP_CLIENT_ID": "Iv1.test", "FOUNTAINKIT_OWNER": owner, "FOUNTAINKIT_NAME": name},
        "secrets": {"ROLLOUT_APP_PRIVATE_KEY": PRIVATE_KEY},
    }


def public_releases(made: Scene) -> list[str]:
    """The tags that anybody can see."""
    return [release["tag_name"] for release in made.server.releases(made.repository) if not release["draft"]]


def artifacts(made: Scene, run: Run) -> list[str]:
    """What a run kept."""
    return sorted(path.name for path in (made.side.artifacts / str(run.id)).glob("*"))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
