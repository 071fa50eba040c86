"""A release that was built again: the plan, the comparison, and the one issue; the builds are prepared files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci import check_drift as check_drift_command
from ci import plan_drift
from ci.host.errors import AccessError, InputError, RefusedError, VerificationError
from ci.records import artifacts
from ci.rehearsal.faults import Effect, Fault, Moment
from tests.support.releasing import DAY, PACKAGES, TAG
from tests.support.stage import NEWER, Run, Stage, release_older

pytestmark = pytest.mark.integration

CURL, GIT = PACKAGES
OTHER = "1234567890" * 4  # a commit; not one digit forty times, which other tests take for a token that is masked
UPGRADED = (replace(CURL, version="7.88.1-10+deb12u1"), GIT)
DOWNGRADED = (replace(CURL, version="7.88.1-9"), GIT)
RULE = (
    '[[expected]]\nkinds = ["package-downgraded"]\nnames = ["curl"]\nreason = "A version that was taken back, see #7"\n'
)


def check_drift(stage: Stage, dist: Path, *flags: str, tag: str = TAG) -> Run:
    argv = ["--tag", tag, "--dist", str(dist), *flags]
    return stage.run(check_drift_command.main, check_drift_command.arguments(), argv)


@pytest.fixture
def released(stage: Stage) -> Stage:
    stage.build()
    assert stage.publish().code == 0
    return stage


def again(stage: Stage, **changes: Any) -> Path:  # noqa: ANN401 - what make_dist takes
    """What the release's inputs come to now."""
    return stage.build(folder=stage.folder / "again", **changes)


def check(stage: Stage, *flags: str, **changes: Any) -> Run:  # noqa: ANN401 - what make_dist takes
    run = check_drift(stage, again(stage, **changes), *flags)
    assert run.code == 0, run.said
    return run


def issues(stage: Stage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stage.api("GET", "/issues", params={"state": "all", "direction": "asc"})
    return found


def outputs(stage: Stage, tmp_path: Path) -> tuple[Run, dict[str, str]]:
    path = tmp_path / "output"
    path.unlink(missing_ok=True)
    run = stage.with_environ(GITHUB_OUTPUT=str(path)).run(plan_drift.main, plan_drift.arguments(), [])
    lines = iter(path.read_text().splitlines() if path.exists() else ())
    found = {}
    for line in lines:
        name, _, end = line.partition("<<")
        found[name] = "\n".join(iter(lambda: next(lines), end))
    return run, found


# The plan


def test_without_a_release_there_is_nothing_to_build_and_it_says_so(stage: Stage, tmp_path: Path) -> None:
    run, planned = outputs(stage, tmp_path)
    assert (run.code, planned["tag"]) == (0, "")
    assert "There is no release yet" in run.said


def test_the_newest_release_is_built_again_from_its_commit_and_its_base(stage: Stage, tmp_path: Path) -> None:
    release_older(stage)
    stage.build()
    assert stage.publish().code == 0
    stage.make_draft(tag=NEWER)
    run, planned = outputs(stage, tmp_path)
    assert run.code == 0, run.said
    assert (planned["tag"], planned["commit"]) == (TAG, stage.head())
    assert json.loads(planned["images"]) == [
        {
            "name": "bookworm",
            "built-at": str(int(DAY.timestamp())),
            "base-url": "https://images.example/base.qcow2",
            "base-sha256": "b" * 64,
        }
    ]


def edit_record(stage: Stage, **changes: str) -> None:
    (release,) = stage.releases()
    (asset,) = [asset for asset in release["assets"] if asset["name"] == artifacts.RELEASE]
    record = json.loads(stage.asset(artifacts.RELEASE)) | changes
    stage.api("DELETE", f"/releases/assets/{asset['id']}")
    stage.upload(release, artifacts.RELEASE, json.dumps(record).encode())


def test_a_commit_that_is_not_the_tags_is_never_run(released: Stage, tmp_path: Path) -> None:
    edit_record(released, commit=OTHER)
    run, planned = outputs(released, tmp_path)
    assert (run.code, planned) == (RefusedError.exit_code, {})
    assert f"is of commit {OTHER}" in run.said


def test_a_record_of_another_repository_is_not_followed(released: Stage, tmp_path: Path) -> None:
    edit_record(released, repository="somebody/else")
    run, planned = outputs(released, tmp_path)
    assert (run.code, planned) == (VerificationError.exit_code, {})


# The comparison


@pytest.mark.parametrize(
    "changes", [{}, {"packages": UPGRADED, "image": b"QFI\xfb other bytes"}], ids=["same", "newer"]
)
def test_what_is_expected_opens_no_issue(released: Stage, changes: dict[str, Any]) -> None:
    run = check(released, **changes)
    assert "Nothing unexpected differs" in run.said
    assert (run.writes, issues(released)) == ([], [])


def test_what_nobody_expects_opens_one_issue_once(released: Stage) -> None:
    check(released, packages=DOWNGRADED)
    (issue,) = issues(released)
    assert issue["title"] == f"{TAG} can no longer be built as it was"
    assert "| `bookworm` | `package-downgraded` | `curl` | `7.88.1-10` | `7.88.1-9` |" in issue["body"]
    assert [label["name"] for label in issue["labels"]] == ["drift"]
    run = check(released, packages=DOWNGRADED)
    assert run.writes == []
    assert issues(released) == [issue]


def test_the_issue_is_brought_up_to_date(released: Stage) -> None:
    check(released, packages=DOWNGRADED)
    check(released, packages=(GIT,))
    (issue,) = issues(released)
    assert "| `package-removed` | `curl` |" in issue["body"]
    assert "package-downgraded" not in issue["body"]


def test_a_release_that_can_no_longer_be_built_is_told(released: Stage, tmp_path: Path) -> None:
    run = check_drift(released, tmp_path / "nothing")
    assert run.code == 0, run.said
    (issue,) = issues(released)
    assert "| `bookworm` | `not-built` |" in issue["body"]


def test_a_rule_with_a_reason_makes_it_expected(released: Stage, tmp_path: Path) -> None:
    rules = tmp_path / "drift.toml"
    rules.write_text(RULE)
    run = check(released, "--expected", str(rules), packages=DOWNGRADED)
    assert "| 1 | `A version that was taken back, see #7` |" in run.said
    assert issues(released) == []


def test_a_dry_run_shows_the_report_and_opens_nothing(released: Stage) -> None:
    run = check(released, "--dry-run", packages=DOWNGRADED)
    assert "package-downgraded" in run.said
    assert (run.writes, issues(released)) == ([], [])


# The issue and people


def test_nothing_is_closed_when_it_is_over(released: Stage) -> None:
    check(released, packages=DOWNGRADED)
    before = issues(released)
    run = check(released)
    assert "close it if it is settled" in run.said
    assert run.writes == []
    assert issues(released) == before


def test_what_a_person_closed_stays_closed_until_something_else_differs(released: Stage) -> None:
    check(released, packages=DOWNGRADED)
    released.api("PATCH", "/issues/1", {"state": "closed"})
    run = check(released, packages=DOWNGRADED)
    assert "somebody closed the issue about it" in run.said
    assert run.writes == []
    check(released, packages=(GIT,))
    assert [issue["state"] for issue in issues(released)] == ["closed", "open"]


def test_an_issue_that_only_looks_like_ours_is_left_alone(released: Stage) -> None:
    check(released, packages=DOWNGRADED)
    (ours,) = issues(released)
    released.api("PATCH", "/issues/1", {"state": "closed", "labels": []})
    theirs = released.api("POST", "/issues", {"title": "Drift", "body": ours["body"]})
    check(released, packages=DOWNGRADED)
    assert [issue["number"] for issue in issues(released)] == [1, 2, 3]
    assert released.api("GET", "/issues/2")["title"] == theirs["title"]


def test_a_lost_answer_leads_to_no_second_issue(released: Stage) -> None:
    released.server.faults.arm(Fault(effect=Effect.RESET, moment=Moment.AFTER, method="POST", path="/issues$"))
    check(released, packages=DOWNGRADED)
    assert len(issues(released)) == 1


def test_a_label_that_is_there_is_used(released: Stage) -> None:
    released.api("POST", "/labels", {"name": "drift", "color": "000000"})
    check(released, packages=DOWNGRADED)
    assert issues(released)[0]["labels"][0]["color"] == "000000"


# What is refused


def test_a_build_of_another_version_is_not_compared(released: Stage) -> None:
    run = check_drift(released, again(released, tag=NEWER))
    assert (run.code, run.exchanges) == (InputError.exit_code, ())
    assert f"IMAGE_VERSION={TAG}" in run.said


def test_a_release_that_is_not_there(stage: Stage) -> None:
    assert check_drift(stage, again(stage)).code == RefusedError.exit_code


def test_a_package_list_that_was_replaced_is_not_compared_with(released: Stage) -> None:
    (release,) = released.releases()
    (asset,) = [asset for asset in release["assets"] if asset["name"].endswith(".packages.tsv")]
    released.api("DELETE", f"/releases/assets/{asset['id']}")
    released.upload(release, asset["name"], b"package\tversion\tarchitecture\tinstalled_kib\n")
    run = check_drift(released, again(released))
    assert run.code == VerificationError.exit_code
    assert "is not what was published" in run.said


@pytest.mark.parametrize("text", ["[[expected]]\nkinds = []\nreason = 'long enough to be a reason'\n", "[[expected]\n",
    "[[expected]]\nkinds = ['bytes']\n", "[[expected]]\nkinds = ['bytes']\nreason = 'because'\n"])  # fmt: skip
def test_a_list_without_reasons_is_refused(released: Stage, tmp_path: Path, text: str) -> None:
    (tmp_path / "drift.toml").write_text(text)
    run = check_drift(released, again(released), "--expected", str(tmp_path / "drift.toml"))
    assert (run.code, run.exchanges) == (InputError.exit_code, ())


def test_a_token_that_may_not_write(released: Stage) -> None:
    stage = released.with_environ(GITHUB_TOKEN=released.server.tokens.reader.secret)
    assert check_drift(stage, again(released, packages=DOWNGRADED)).code == AccessError.exit_code
    assert issues(released) == []
