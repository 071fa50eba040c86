"""Runs that are continued, repeated, held up, or meet another: what was released stays right."""

from pathlib import Path

import pytest
import requests

from ci.host.files import sha256_file
from ci.rehearsal.faults import Effect, Fault
from tests.integration.workflows.conftest import MakeScene, public_releases
from tests.support.workflows.language import WorkflowError
from tests.support.workflows.model import Result, Run
from tests.support.workflows.scene import LIGHT, SECOND, Scene, replaced, stood_in

pytestmark = pytest.mark.integration

TAG = "v2026.05.06"
FIRST_STEP = ("publish", "Check out")


def images(made: Scene, run: Run) -> dict[str, str]:
    """The digest of each image that the run kept."""
    kept = (made.side.artifacts / str(run.id)).glob("image-*/*.qcow2")
    return {path.name: sha256_file(path) for path in kept}


def released(made: Scene) -> dict[str, str]:
    """The digest of each image of the only release."""
    (release,) = made.server.releases(made.repository)
    return {
        asset["name"]: asset["digest"].removeprefix("sha256:")
        for asset in release["assets"]
        if Path(asset["name"]).suffix == ".qcow2"
    }


def test_an_image_that_failed_is_built_again_and_the_other_is_kept(make_scene: MakeScene) -> None:
    both = replaced("release = false", "release = true")
    once = stood_in("boot", "first_failed as boot_all")
    made = make_scene(edits=LIGHT | {f"build/images/{SECOND}.toml": both, "ci/boot/all_boots.py": once})
    event = made.push_tag(TAG)
    first = made.run(event)
    assert {name: result for name, result in first.results().items() if result != "skipped"} == {
        "image/plan": "success", "image/image (jammy)": "failure", f"image/image ({SECOND})": "success",
    }  # fmt: skip
    assert made.server.releases(made.repository) == []

    second = made.run(event, first)
    assert second.result is Result.SUCCESS, second.log
    assert second.jobs[f"image/image ({SECOND})"] is first.jobs[f"image/image ({SECOND})"]
    assert second.jobs["image/image (jammy)"].attempt == 2
    assert released(made) == images(made, second)
    assert len(released(made)) == 2


def test_all_jobs_can_be_run_again_until_it_is_published_and_then_no_more(make_scene: MakeScene) -> None:
    made = make_scene()
    event = made.push_tag(TAG)
    made.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, method="POST", path=r"/assets$", times=100))
    first = made.run(event)
    made.server.faults.clear()
    assert first.results()["publish"] == "failure"
    built = images(made, first)

    second = made.run_all_again(event, first)
    assert second.result is Result.SUCCESS, second.log
    assert released(made) == images(made, second) != built

    third = made.run_all_again(event, second)
    assert third.results()["image/plan"] == "failure"
    assert f"{TAG} is published already" in third.summary
    assert "re-run that job" in third.summary
    assert released(made) == images(made, second)


def test_a_reviewer_may_take_a_day_and_a_rehearsal_meanwhile_changes_nothing(make_scene: MakeScene) -> None:
    made = make_scene()
    rehearsals: list[Run] = []

    def a_day() -> None:
        """Others work: what they merge changes a workflow, and they rehearse the same version."""
        del made.interference.before_step[FIRST_STEP]
        # A pushed tag is there, without which a workflow's token could not make it after such a change.
        answer = requests.post(
            f"{made.server.url}/repos/{made.repository}/git/refs",
            json={"ref": f"refs/tags/{TAG}", "sha": made.head()},
            headers={"Authorization": f"Bearer {made.server.token}"},
            timeout=60,
        )
        assert answer.status_code == 201, answer.text
        made.server.commit(made.repository, {".github/workflows/other.yml": "on: push\n"})
        rehearsals.append(made.run(made.dispatch(version=TAG)))
        with pytest.raises(WorkflowError, match="would wait"):
            made.run(made.push_tag("v2026.05.07"))

    made.interference.before_step[FIRST_STEP] = a_day
    run = made.run(made.push_tag(TAG))
    (rehearsal,) = rehearsals
    assert rehearsal.result is Result.SUCCESS, rehearsal.log
    assert run.result is Result.SUCCESS, run.log
    assert public_releases(made) == [TAG]
    assert released(made) == images(made, run) != images(made, rehearsal)
    assert len(made.server.pulls(made.repository)) == 1
