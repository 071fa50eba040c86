"""The weekly build of what releases carry; the builds are stood in for: see scene.LIGHT."""

import shutil
from pathlib import Path

import pytest

from tests.integration.workflows.conftest import MakeScene, artifacts, public_releases
from tests.support.workflows.language import WorkflowError
from tests.support.workflows.model import Result
from tests.support.workflows.scene import replaced, stood_in

pytestmark = pytest.mark.integration

WORKFLOW = "rebuild"
GOOD = {"image/plan": "success", "image/image (jammy)": "success", "image/collect": "success"}


def test_what_releases_carry_is_built_and_boot_tested_and_nothing_is_published(make_scene: MakeScene) -> None:
    made = make_scene()
    run = made.run(made.schedule(WORKFLOW))
    assert run.results() == GOOD, run.log
    assert artifacts(made, run) == ["reports-jammy"]  # nobody takes the image
    assert public_releases(made) == []


def test_an_image_that_no_longer_builds_or_boots_makes_the_run_red(make_scene: MakeScene) -> None:
    made = make_scene()
    made.commit({"ci/boot/all_boots.py": stood_in("boot", "failed as boot_all")})
    run = made.run(made.schedule(WORKFLOW))
    assert (run.result, run.results()["image/image (jammy)"]) == (Result.FAILURE, "failure")
    assert run.results()["image/collect"] == "skipped"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("purpose: rehearsal", "purpose: drill"),
        ("purpose: rehearsal", "purposes: rehearsal"),
        ("contents: read", "contents: none"),
        ("workflows/image.yml", "workflows/images.yml"),
    ],
)
def test_a_workflow_that_is_broken_in_one_place_does_not_end_well(
    make_scene: MakeScene, tmp_path: Path, old: str, new: str
) -> None:
    made = make_scene()
    shutil.copytree(made.root / ".github", tmp_path / ".github")
    path = tmp_path / f".github/workflows/{WORKFLOW}.yml"
    path.write_text(replaced(old, new)(path.read_text()))
    try:
        run = made.run(made.schedule(WORKFLOW), workflows=tmp_path)
    except (WorkflowError, FileNotFoundError):
        return  # GitHub would not start it
    assert run.result is not Result.SUCCESS
