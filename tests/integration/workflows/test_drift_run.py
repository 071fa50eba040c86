"""The scheduled comparison with the last release, from end to end; the builds are stood in for: see scene.LIGHT."""

from pathlib import Path

import pytest

from ci.host.repository import ROOT
from tests.integration.workflows.conftest import MakeScene, artifacts
from tests.support.workflows.language import Json, Language
from tests.support.workflows.model import Result, Run
from tests.support.workflows.scene import Scene, in_turn, replaced

pytestmark = pytest.mark.integration

TAG, WORKFLOW = "v2026.05.06", "drift"
BUILD = "exec .venv/bin/python -m ci.build_image"


@pytest.fixture(scope="module")
def released(make_scene: MakeScene) -> Scene:
    """A repository with a release, whose definition does not ask for a base that only an image host has."""
    made = make_scene()
    assert made.run(made.push_tag(TAG)).results()["publish"] == "success"
    return made


def leg(run: Run) -> str:
    (name,) = [name for name in run.jobs if name.startswith("rebuild (")]
    return name


def issues(made: Scene) -> list[Json]:
    listed = made.server._call(made.server._emulator.get(f"/repos/{made.repository}/issues"))
    return list(listed or [])


def test_without_a_release_nothing_is_built_and_the_run_ends_well(make_scene: MakeScene) -> None:
    made = make_scene()
    run = made.run(made.schedule(WORKFLOW))
    assert run.results() == {"plan": "success", "rebuild": "skipped", "report": "skipped"}, run.log
    assert "There is no release yet" in run.summary


def test_the_last_release_is_built_again_from_its_commit_whatever_came_since(released: Scene) -> None:
    commit = released.head()
    released.commit({"build/images/jammy.toml": lambda _: "no longer a definition\n"})
    run = released.run(released.schedule(WORKFLOW))
    assert run.result is Result.SUCCESS, run.log
    assert run.jobs[leg(run)].step("Build again").outcome is Result.SUCCESS
    assert artifacts(released, run) == ["reports-jammy"]
    assert commit in run.jobs["plan"].log
    assert commit == run.jobs["plan"].outputs["commit"] != released.head()
    assert "Nothing unexpected differs" in run.summary
    assert issues(released) == []


def changed(tmp_path: Path, *edits: tuple[str, str]) -> Path:
    """The workflow with some changes."""
    path = tmp_path / f".github/workflows/{WORKFLOW}.yml"
    path.parent.mkdir(parents=True)
    text = (ROOT / f".github/workflows/{WORKFLOW}.yml").read_text()
    path.write_text(in_turn(*(replaced(old, new) for old, new in edits))(text))
    (tmp_path / ".github/actions").symlink_to(ROOT / ".github/actions")
    return tmp_path


def test_a_build_that_fails_is_told_in_one_issue(released: Scene, tmp_path: Path) -> None:
    failing = changed(tmp_path, (BUILD, "exit 7"))
    run = released.run(released.schedule(WORKFLOW), workflows=failing)
    assert (run.jobs[leg(run)].result, run.results()["report"]) == (Result.FAILURE, "success"), run.log
    (issue,) = issues(released)
    assert "| `jammy` | `not-built` |" in issue["body"]
    assert [label["name"] for label in issue["labels"]] == ["drift"]
    assert f"/issues/{issue['number']}) was opened" in run.summary
    again = released.run(released.schedule(WORKFLOW), workflows=failing)
    assert "is up to date" in again.summary
    assert [one["number"] for one in issues(released)] == [issue["number"]]


@pytest.mark.parametrize(
    "edits",
    [
        (("issues: write", "issues: read"), (BUILD, "exit 7")),
        (("ref: ${{ needs.plan.outputs.commit }}", "ref: ${{ needs.plan.outputs.commits }}"),),
        (("IMAGE_VERSION: ${{ needs.plan.outputs.tag }}", "IMAGE_VERSION: v2026.05.07"),),
        (("id: plan", "id: planned"),),
        (("pattern: reports-*", "pattern: report-*"), ("issues: write", "issues: read")),
    ],
    ids=["permission", "commit", "version", "step", "artifact"],
)
def test_a_workflow_that_is_broken_in_one_place_does_not_end_well(
    released: Scene, tmp_path: Path, edits: tuple[tuple[str, str], ...]
) -> None:
    for issue in issues(released):
        released.server._call(
            released.server._emulator.call(
                "PATCH", f"/repos/{released.repository}/issues/{issue['number']}", {"state": "closed", "body": ""}
            )
        )
    try:
        run = released.run(released.schedule(WORKFLOW), workflows=changed(tmp_path, *edits))
    except AssertionError:
        return  # GitHub would not allow what it does
    results = run.results()
    assert set(results.values()) != {"success"}
    assert results["report"] != "success" or run.jobs[leg(run)].result is Result.FAILURE


def test_only_the_job_that_reports_may_write_and_it_runs_alone(language: Language) -> None:
    definition = language.parse(ROOT, f".github/workflows/{WORKFLOW}.yml")
    writing = {name for name, job in definition["jobs"].items() if "write" in job["permissions"].values()}
    assert (definition["permissions"], writing) == ({}, {"report"})
    assert language.value(definition["concurrency"], {}) == {"group": WORKFLOW, "cancel-in-progress": False}
