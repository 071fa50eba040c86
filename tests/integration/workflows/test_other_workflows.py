"""The project's own tests as a workflow, what is promised of runs that meet, and the preparation of a runner."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ci.host.process import Completed, run
from ci.host.repository import ROOT
from tests.integration.workflows.conftest import MakeScene
from tests.support.workflows.language import Language
from tests.support.workflows.model import Result
from tests.support.workflows.scene import system_path

pytestmark = pytest.mark.integration

PREPARE = ROOT / ".github/actions/prepare-runner"


def test_the_projects_tests_run_on_main(make_scene: MakeScene) -> None:
    made = make_scene(tools={"make": 'exec /usr/bin/make --dry-run "$@"'})
    run = made.run(made.push_main())
    assert run.results() == {"quick": "success", "integration": "success"}
    assert "pytest tests/unit" in run.jobs["quick"].log
    assert "zizmor" in run.jobs["quick"].log
    assert re.search(r"pytest .*tests/integration\n", run.jobs["integration"].log)
    assert run.result is Result.SUCCESS


def test_every_night_the_property_tests_draw_from_a_seed_that_is_shown_and_all_that_takes_long_happens(
    make_scene: MakeScene,
) -> None:
    made = make_scene(tools={"make": 'exec /usr/bin/make --dry-run "$@"'})
    run = made.run(made.schedule("nightly"))
    assert run.results() == {"properties": "success", "full": "success", "generations": "success"}
    assert "for image in bullseye bookworm trixie" in run.jobs["generations"].log
    assert "--full -m full" in run.log
    assert re.search(r"pytest tests/unit -m hypothesis --hypothesis-profile searching --hypothesis-seed \d+\n", run.log)


def test_releases_wait_for_each_other_and_pull_requests_do_not(language: Language) -> None:
    def concurrency(name: str, contexts: Mapping[str, object]) -> object:
        return language.value(language.parse(ROOT, f".github/workflows/{name}.yml")["concurrency"], contexts)

    for inputs, group in (
        ({}, "release"),
        ({"rehearsal-only": False}, "release"),
        ({"rehearsal-only": True}, "rehearsal"),
    ):
        expected = {"group": group, "cancel-in-progress": False, "queue": "max"}
        assert concurrency("release", {"inputs": inputs}) == expected
    for ref in ("refs/pull/7/merge", "refs/heads/gh-readonly-queue/main/pr-7-abc"):
        expected = {"group": f"pull-request-{ref}", "cancel-in-progress": True}
        assert concurrency("pull-request", {"github": {"ref": ref}}) == expected


def test_checks_to_require_run_for_every_pull_request_and_for_a_merge_queue(language: Language) -> None:
    (row,) = re.findall(r"require the checks (.*?) \|", (ROOT / "docs/automation.md").read_text())
    required = set(re.findall(r"`(.*?)`", row))
    assert required
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        definition = language.parse(ROOT, f".github/workflows/{path.name}")
        ours = required & {str(job.get("name")) for job in definition["jobs"].values()}
        if ours:
            # Without filters: a check that does not run is waited for for ever.
            assert {name: definition["on"][name] for name in ("pull_request", "merge_group")} == {
                "pull_request": None, "merge_group": None,
            }  # fmt: skip
        required -= ours
    assert required == set()


def test_an_apps_token_lives_as_long_as_its_job_may_take(language: Language) -> None:
    """It is made where its job was approved, and expires an hour later."""
    jobs = [
        job
        for path in (ROOT / ".github/workflows").glob("*.yml")
        for job in language.parse(ROOT, f".github/workflows/{path.name}")["jobs"].values()
        if any("create-github-app-token" in step.get("uses", "") for step in job.get("steps", []))
    ]
    assert [job["environment"] for job in jobs] == ["roll-out"] * len(jobs)
    assert max(job["timeout-minutes"] for job in jobs) <= 60


def test_what_one_job_hands_to_another_outlives_a_run_that_waits_and_is_run_again(language: Language) -> None:
    """30 days in which it can be run again, and then 35 in which it may wait: see docs/automation.md."""
    for name, uploads in {"image": 2, "pages": 1}.items():
        jobs = language.parse(ROOT, f".github/workflows/{name}.yml")["jobs"].values()
        steps = [step for job in jobs for step in job.get("steps", [])]
        kept = [
            int(step["with"]["retention-days"])
            for step in steps
            if re.match("actions/upload-(pages-)?artifact@", step.get("uses", ""))
        ]
        assert len(kept) == uploads
        assert min(kept) >= 30 + 35


def test_the_documented_permissions_and_settings_are_the_real_ones(language: Language) -> None:
    text = (ROOT / "docs/automation.md").read_text()
    documented = {
        (workflow, job): set(re.findall(r"`([a-z-]+: [a-z]+)`", permissions))
        for workflow, job, permissions in re.findall(r"^\| ([a-z-]+), ([a-z-]+) \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    }
    real, used = {}, set()
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        used |= set(re.findall(r"(?:vars|secrets)\.(\w+)", path.read_text()))
        for job, definition in language.parse(ROOT, f".github/workflows/{path.name}")["jobs"].items():
            if "uses" not in definition:
                granted = {f"{name}: {level}" for name, level in definition["permissions"].items()}
                real[path.stem, job] = granted - {"contents: read"}
    assert documented == real
    section = text.partition("### Variables and secrets")[2].partition("\n###")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == used


class Bench:
    """A PATH with fakes, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "record"
        self.record.touch()
        self.record.chmod(0o666)
        self.fake("sudo", 'printf "%s\\n" "$*" >>"$RECORD"; exec "$@"')
        for name in ("apt-get", "udevadm"):
            self.fake(name, ":")
        self.fake("tee", "cat")
        self.fake("dpkg-query", "exit 1")

    def fake(self, name: str, line: str) -> None:
        (self.folder / name).write_text(f"#!/bin/bash\n{line}\n")
        (self.folder / name).chmod(0o755)

    def run(self, script: str, *arguments: str | Path, **variables: str) -> Completed:
        env = {"PATH": f"{self.folder}{os.pathsep}{system_path()}", "RECORD": str(self.record), **variables}
        # Root may read everything; a runner's user may not.
        lower = ["setpriv", "--reuid=65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
        return run([*lower, PREPARE / script, *arguments], timeout=60, env=env)

    def as_root(self) -> list[str]:
        return self.record.read_text().splitlines()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Bench(Path(folder))


def test_a_device_that_others_may_not_open_is_opened_to_them(bench: Bench) -> None:
    device = bench.folder / "kvm"
    device.touch(mode=0o600)
    os.chmod(device, 0o000)  # noqa: PTH101
    told = bench.run("virtualisation.sh", KVM_DEVICE=str(device)).stdout
    assert f"opening {device} to everybody" in told
    assert 'MODE="0666"' in told
    assert bench.as_root() == [
        "tee /etc/udev/rules.d/99-kvm-for-all.rules",
        "udevadm control --reload-rules",
        "udevadm trigger --name-match=kvm --settle",
    ]


@pytest.mark.parametrize("there", [True, False])
def test_a_device_that_is_open_or_not_there_is_left_alone(bench: Bench, *, there: bool) -> None:
    device = bench.folder / "kvm"
    if there:
        device.touch()
        device.chmod(0o666)
    assert ("there is no" in bench.run("virtualisation.sh", KVM_DEVICE=str(device)).stdout) is not there
    assert bench.as_root() == []


def test_space_is_freed_until_there_is_enough_and_no_further(bench: Bench) -> None:
    folders = [bench.folder / name for name in ("one", "absent", "two", "three")]
    for folder in folders:
        if folder.name != "absent":
            folder.mkdir()
            folder.chmod(0o777)
    # Each folder that is gone counts as 4 GiB more.
    left = 'left=$(ls -d "${0%/*}"/{one,two,three} 2>/dev/null | wc -l)'
    bench.fake("df", f'{left}; printf "Avail\\n%s\\n" $((17 - 4 * left))')
    told = bench.run("free-space.sh", *folders, NEEDED_GIB="12").stdout
    assert told.splitlines()[-1] == "13 GiB are free"
    assert [folder.name for folder in folders if folder.exists()] == ["three"]
    assert bench.run("free-space.sh", *folders, NEEDED_GIB="12").stdout == "13 GiB are free\n"
