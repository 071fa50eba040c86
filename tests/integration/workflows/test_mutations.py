"""A workflow that is broken in one place does not pass: the tests that execute them can fail."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ci.rehearsal.server import GitHubServer
from tests.integration.workflows.conftest import MakeScene
from tests.support.workflows.engine import Settings
from tests.support.workflows.language import WorkflowError
from tests.support.workflows.model import Result, Run
from tests.support.workflows.scene import CONSUMER, Scene, consumer_files, replaced, server_files

pytestmark = pytest.mark.integration

TAG = "v2026.05.06"
# What is changed, where it is long.
PURPOSE = "      purpose: ${{ inputs.rehearsal-only && 'rehearsal' || 'release' }}\n"
PUBLISHED = "needs.publish.result == 'success'"
ATTEST = "actions/attest@1e69f48acb82d1966a394da916b4c1698aa569d6"
WITH_APP = Settings(
    variables={"ROLLOUT_APP_CLIENT_ID": "Iv1.test", "FOUNTAINKIT_NAME": CONSUMER},
    environments={"roll-out": {"ROLLOUT_APP_PRIVATE_KEY": "a key"}},
)
IMAGE, RELEASE, PULL_REQUEST = "image.yml", "release.yml", "pull-request.yml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Halfway:
    """A release that was stopped after its images."""

    made: Scene
    run: Run


@pytest.fixture(scope="module")
def halfway(make_scene: MakeScene) -> Halfway:
    made = make_scene()
    made.interference.cancel_at["attest", "Compare the digests"] = "Hashing"
    run = made.run(made.push_tag(TAG))
    made.interference.cancel_at.clear()
    assert run.jobs["image/collect"].result is Result.SUCCESS
    assert run.jobs["publish"].result is Result.SKIPPED
    return Halfway(made=made, run=run)


def broken(made: Scene, tmp_path: Path, file: str, old: str, new: str) -> Path:
    """A copy of the workflows with one change."""
    shutil.copytree(made.root / ".github", tmp_path / ".github")
    path = tmp_path / ".github/workflows" / file
    path.write_text(replaced(old, new)(path.read_text()))
    return tmp_path


@pytest.fixture
def continued(halfway: Halfway, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Runs the next attempt on a GitHub that has no release yet, with some jobs again that had succeeded."""
    with GitHubServer.start(tmp_path / "github") as server:
        repository = server.create_repository("image", server_files(halfway.made.root))
        server.show_head_as(repository, halfway.made.head())
        server.allow_pulls_of_actions(repository)
        server.create_repository(CONSUMER, consumer_files())

        def run(*again: str, private: bool = False, app: bool = False, workflows: Path | None = None) -> Run:
            side = replace(halfway.made.side, server=server)
            settings = WITH_APP if app else Settings()
            made = replace(halfway.made, side=side, repository=repository, private=private, settings=settings)
            kept = {name: job for name, job in halfway.run.jobs.items() if name not in again}
            return made.run(made.push_tag(TAG), Run(id=halfway.run.id, attempt=1, jobs=kept), workflows)

        yield run


# What is changed, and which job that succeeded before must then be run again.
MUTATIONS: Mapping[str, tuple[str, str, str, tuple[str, ...]]] = {
    "a step's command": (IMAGE, "-m ci.workflow.collect_images", "-m ci.collect_image", ("image/collect",)),
    "a step's id": (IMAGE, "id: collect", "id: collected", ("image/collect",)),
    "a job's output": (IMAGE, "digests: ${{ steps.collect.outputs.digests }}", "digest: x", ("image/collect",)),
    "a workflow's output": (IMAGE, "jobs.collect.outputs.digests", "jobs.collect.outputs.digest", ()),
    "a variable of a step": (RELEASE, "DIGESTS: ", "DIGEST: ", ()),
    "an input of a called workflow": (RELEASE, "purpose: ${{", "purpos: ${{", ()),
    "a missing input of a called workflow": (RELEASE, PURPOSE, "", ()),
    "an input of an action": (RELEASE, "subject-path:", "subject:", ()),
    "the name of an artifact": (RELEASE, '"{image,reports}-', '"{images,report}-', ()),
    "an action that is not pinned": (RELEASE, ATTEST, "actions/attest@v4", ()),
    "a job that is needed": (RELEASE, "needs: [image, attest, attest-contents]", "needs: image", ()),
    "a context that is not there": (RELEASE, "if: vars.ROLLOUT_APP_CLIENT_ID == ''", "if: matrx.x == ''", ()),
    "the record's digest for publishing": (RELEASE, "needs.attest.outputs.rec", "needs.attest.output.rec", ()),
    "the record's digest for the roll-out": (RELEASE, "needs.publish.outputs.rec", "needs.publish.output.rec", ()),
    "a subject": (RELEASE, "dist/release.json", "dist/releases.json", ()),
    "a condition": (RELEASE, f"${{{{ !cancelled() && {PUBLISHED} }}}}", PUBLISHED, ()),
    "the permission to sign": (RELEASE, "id-token: write", "id-token: none", ()),
    "the permission to publish": (RELEASE, "contents: write # for the release and its tag", "contents: read", ()),
    "the permission to propose": (RELEASE, "pull-requests: write # for", "pull-requests: read # for", ()),
    "the permission to propose a branch": (RELEASE, "contents: write # for the br", "contents: read # for the br", ()),
    "the permission to keep an attestation": (RELEASE, "attestations: write", "attestations: none", ()),
    "the permission to download": (RELEASE, "actions: read # to", "actions: none # to", ()),
    "the permission to collect": (IMAGE, "actions: read # to download", "actions: none # to", ("image/collect",)),
    "an app's permission to propose": (RELEASE, "n-pull-requests: write", "n-pull-requests: read", ()),
    "an app's permission to write": (RELEASE, "permission-contents: write", "permission-contents: read", ()),
    "an app's repository": (RELEASE, "repositories: ${{ vars.FOUNTAINKIT_NAME }}", "repositories: image", ()),
    "an app's token": (RELEASE, "FOUNTAINKIT_TOKEN: ${{ steps.fountainkit", "FOUNTAINKIT_TOKEN: ${{ steps.app", ()),
    "a caller's permission": (RELEASE, "actions: read # a called", "actions: none # a called", ()),
}  # fmt: skip


# Each is like one beside it, and found as late in a run.
BY_NIGHT = {
    "an app's permission to propose", "an app's permission to write", "an app's repository",
    "the permission to propose", "the permission to propose a branch", "the record's digest for the roll-out",
}  # fmt: skip
assert MUTATIONS.keys() > BY_NIGHT


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.full) if name in BY_NIGHT else name for name in MUTATIONS]
)
def test_a_release_that_is_broken_in_one_place_does_not_succeed(
    halfway: Halfway, continued: Callable[..., Run], tmp_path: Path, name: str
) -> None:
    file, old, new, again = MUTATIONS[name]
    workflows = broken(halfway.made, tmp_path, file, old, new)
    try:
        run = continued(*again, workflows=workflows, private=name == "a condition", app=name.startswith("an app's"))
    except WorkflowError:
        return  # GitHub would not start it
    assert run.results()["roll-out"] != "success"


@pytest.mark.parametrize("how", ["plain", "private", "app"])
def test_what_is_not_broken_does(continued: Callable[..., Run], how: str) -> None:
    run = continued("image/collect", private=how == "private", app=how == "app")
    assert run.results()["roll-out"] == "success", run.log


@pytest.mark.parametrize(
    ("old", "new"), [("    if: always()\n", ""), ("needs.image.result != 'success'", "needs.images.result == 'x'")]
)
def test_a_gate_that_is_broken_does_not_close(make_scene: MakeScene, tmp_path: Path, old: str, new: str) -> None:
    made = make_scene()
    event = made.open_pull({"build/images/jammy.toml": lambda _: "wrong"})
    assert made.run(event, workflows=broken(made, tmp_path, PULL_REQUEST, old, new)).results()["gate"] != "failure"
