"""The workflow that publishes the release catalogue."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ci.catalogue.site import DOCUMENT, CatalogueDocument
from ci.host.repository import ROOT
from tests.integration.workflows.conftest import MakeScene
from tests.support.release_records import make_record
from tests.support.workflows.engine import Event
from tests.support.workflows.language import Language
from tests.support.workflows.model import Result
from tests.support.workflows.scene import Scene, replaced

pytestmark = pytest.mark.integration

WORKFLOW = ".github/workflows/pages.yml"
TAG = "v2026.11.16"


def merged(made: Scene, text: str, *, pages: bool = True) -> Event:
    """The push that a merged roll-out makes."""
    made.commit({f"releases/{TAG}.json": lambda _: text})
    event = made.push_main()
    payload = event.github["event"]
    repository = {**payload["repository"], "has_pages": pages}
    return replace(event, workflow=WORKFLOW, github={**event.github, "event": {**payload, "repository": repository}})


def test_a_merged_roll_out_is_on_the_page(make_scene: MakeScene) -> None:
    made = make_scene()
    record = make_record(TAG)
    run = made.run(merged(made, record.to_json()))
    assert run.result is Result.SUCCESS, run.log
    shown = CatalogueDocument.model_validate_json((made.side.pages / DOCUMENT).read_bytes())
    assert [one.tag for one in shown.releases] == [TAG]
    assert sorted(path.name for path in made.side.pages.iterdir()) == ["feed.xml", "index.html", "releases.json"]


def test_a_broken_record_leaves_the_page_as_it_is(make_scene: MakeScene) -> None:
    made = make_scene()
    assert made.run(merged(made, make_record(TAG).to_json())).result is Result.SUCCESS
    before = (made.side.pages / DOCUMENT).read_bytes()
    run = made.run(merged(made, "{"))
    assert run.results() == {"build": "failure", "deploy": "skipped"}
    assert f"{TAG}.json" in run.log
    assert (made.side.pages / DOCUMENT).read_bytes() == before


def test_all_jobs_or_the_failed_one_can_be_run_again(make_scene: MakeScene) -> None:
    made = make_scene()
    event = merged(made, make_record(TAG).to_json())
    first = made.run(event)
    second = made.run_all_again(event, first)
    assert (second.attempt, second.result) == (2, Result.SUCCESS), second.log
    # Where only the deployment failed, what an earlier attempt built is deployed.
    second.jobs["deploy"].result = Result.FAILURE
    third = made.run(event, second)
    assert third.jobs["build"] is second.jobs["build"]
    assert third.result is Result.SUCCESS, third.log


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("github-pages-${{ github.run_attempt }}", "github-pages"),
        ("${{ needs.build.outputs.artifact }}", "github-pages-${{ github.run_attempt }}"),
    ],
)
def test_with_another_name_for_the_artifact_one_of_both_could_not(
    make_scene: MakeScene, tmp_path: Path, old: str, new: str
) -> None:
    made = make_scene()
    event = merged(made, make_record(TAG).to_json())
    shutil.copytree(made.root / ".github", tmp_path / ".github")
    (tmp_path / WORKFLOW).write_text(replaced(old, new)((tmp_path / WORKFLOW).read_text()))
    first = made.run(event, workflows=tmp_path)
    assert first.result is Result.SUCCESS, first.log
    all_again = made.run_all_again(event, first, tmp_path)
    other = made.run(event, workflows=tmp_path)
    other.jobs["deploy"].result = Result.FAILURE
    deployed_again = made.run(event, other, tmp_path)
    assert Result.FAILURE in {all_again.result, deployed_again.result}


def test_a_repository_without_pages_is_left_alone_until_somebody_asks(make_scene: MakeScene) -> None:
    made = make_scene()
    event = merged(made, make_record(TAG).to_json(), pages=False)
    assert made.run(event).results() == {"build": "skipped", "deploy": "skipped"}
    by_hand = replace(event, github={**event.github, "event_name": "workflow_dispatch"})
    assert made.run(by_hand).result is Result.SUCCESS


def test_it_runs_for_what_the_page_is_made_of(language: Language) -> None:
    push = language.parse(ROOT, WORKFLOW)["on"]["push"]
    assert push["branches"] == ["main"]
    assert {"releases/**", "ci/catalogue/**", "ci/build_catalogue.py", WORKFLOW} == set(push["paths"])
    assert all((ROOT / Path(path.removesuffix("/**"))).exists() for path in push["paths"])
