"""What is promised of the papers that people look for: they name what is there, and all of it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ci.github.settings import APP, APP_KEY, CHECKS, CONSUMER, ENVIRONMENTS
from ci.host.repository import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
EVERY_JOB = "In every job"
PAPERS = [ROOT / name for name in ("README.md", "SECURITY.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    return loaded


def steps_of(workflow: dict[str, Any]) -> set[tuple[str, str]]:
    jobs = workflow["jobs"].values()
    return {(job["name"], step["name"]) for job in jobs for step in job.get("steps", ())}


def lines_of(section: str) -> set[tuple[str, ...]]:
    """The cells of a section's rows, but for those of its head."""
    rows = (
        tuple(cell.strip() for cell in row.strip("| ").split(" | "))
        for row in re.findall(r"^\|.*", section, re.MULTILINE)
    )
    return {row for row in rows if not {"step", "---"} & {*row}}


SECTIONS = dict(section.partition("\n")[::2] for section in RUNBOOK.split("\n## ")[1:])


def of_file(name: str) -> str:
    return next(text for title, text in SECTIONS.items() if f"`{name}`" in title or f"`{name}:" in title)


def test_the_runbook_has_a_section_for_each_workflow_and_no_other() -> None:
    named = re.findall(r"`([\w-]+\.yml)", " ".join(SECTIONS))
    assert sorted(named) == [path.name for path in WORKFLOWS]


def common() -> set[str]:
    return {row[0] for row in lines_of(SECTIONS[EVERY_JOB])}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_step_of_each_job_is_in_the_runbook_and_nothing_else(path: Path) -> None:
    documented = {(row[0], row[1]) for row in lines_of(of_file(path.name))}
    own = {(job, step) for job, step in steps_of(load(path)) if step not in common()}
    assert documented == own


def test_what_every_job_may_have_are_steps_of_several_jobs_or_of_our_own_actions() -> None:
    actions = [load(path) for path in (ROOT / ".github/actions").glob("prepare-runner/action.yml")]
    inner = {step["name"] for action in actions for step in action["runs"]["steps"]}
    everywhere = [step for path in WORKFLOWS for _, step in steps_of(load(path))]
    assert inner <= common()
    assert all(everywhere.count(step) > 2 for step in common() - inner)


def test_each_line_says_what_it_means_and_what_to_do() -> None:
    rows = [row for section in SECTIONS.values() for row in lines_of(section)]
    assert [row for row in rows if len(row) < 3 or not all(row)] == []
    assert rows


def targets(path: Path) -> Iterator[tuple[str, str]]:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http", "../../")):
            file, _, anchor = target.partition("#")
            yield file, anchor


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.name)
def test_each_link_leads_to_a_file_and_to_a_heading_of_it(path: Path) -> None:
    for file, anchor in targets(path):
        to = (path.parent / file).resolve() if file else path
        assert to.exists(), f"{path.name}: {file}"
        assert not anchor or anchor in anchors(to), f"{path.name}: {file}#{anchor}"


def test_each_badge_is_of_a_workflow_that_runs_on_the_default_branch() -> None:
    """Relative, so that a fork's and a renamed repository's are its own."""
    badges = re.findall(r"\[!\[(.*?)\]\((\S+?)\)\]\((\S+?)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert badges
    for title, picture, page in badges:
        workflow = load(ROOT / ".github/workflows" / page.rpartition("/")[2])
        assert picture == f"{page}/badge.svg?branch=main"
        assert page.startswith("../../actions/workflows/")
        assert (title, bool({"push", "schedule"} & {*workflow["on"]})) == (workflow["name"], True)


def test_the_doctor_knows_what_the_workflows_use_by_name() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    variables, secrets = (set(re.findall(rf"\b{kind}\.([A-Z_]+)", text)) for kind in ("vars", "secrets"))
    assert {APP, CONSUMER} <= variables
    assert secrets == {APP_KEY}
    jobs = [job for path in WORKFLOWS for job in load(path)["jobs"].values()]
    environments = {job["environment"] for job in jobs if isinstance(job.get("environment"), str)}
    assert environments == {*ENVIRONMENTS}
    assert {*CHECKS} <= {job["name"] for job in jobs}
    ruleset = (ROOT / ".github/rulesets/main.json").read_text(encoding="utf-8")
    assert sorted(re.findall(r'"context": "(.*?)"', ruleset)) == sorted(CHECKS)
