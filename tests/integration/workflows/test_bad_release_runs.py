"""What goes wrong with a release ends with a message on the run's page, and publishes nothing wrong."""

import html
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.workflows.conftest import KEY, MakeScene, artifacts
from tests.support.workflows.model import Result
from tests.support.workflows.scene import IMAGE, LIGHT, Edit, Scene, replaced, stood_in

pytestmark = pytest.mark.integration

TAG = "v2026.05.06"
BUILD, BOOT_TEST = ("image/image (jammy)", "Build"), ("image/image (jammy)", "Boot test")


@pytest.fixture(scope="module")
def plain(make_scene: MakeScene) -> Scene:
    """A repository for runs that end before they change anything."""
    return make_scene()


def test_a_tag_that_is_no_version(plain: Scene) -> None:
    run = plain.run(plain.push_tag("v2026.02.30"))
    assert run.results() == {
        "image/plan": "failure", "image/image": "skipped", "image/collect": "skipped", "rehearse": "skipped",
        "attest": "skipped", "attest-contents": "skipped", "publish": "skipped", "roll-out": "skipped",
    }  # fmt: skip
    assert "**Failed:**\n\n<pre>'v2026.02.30' is not a version" in run.summary
    assert plain.server.releases(plain.repository) == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"base_sha256": "a" * 64}, "there is a digest of a base, but no URL"),
        ({"resume": "7", "version": TAG}, "there is no run 7 in"),
        ({"image": '$(touch owned); "; touch owned'}, "there is no image definition"),
    ],
)
def test_inputs_that_make_no_sense(plain: Scene, inputs: Mapping[str, str], message: str) -> None:
    run = plain.run(plain.dispatch(rehearsal_only=False, **inputs))
    assert run.jobs["image/plan"].result is Result.FAILURE
    assert run.jobs["publish"].result is Result.SKIPPED
    assert message in run.summary
    assert not list(plain.folder.rglob("owned"))
    assert plain.server.releases(plain.repository) == []


def test_a_base_that_nothing_vouches_for(plain: Scene, tmp_path: Path) -> None:
    base = tmp_path / "base.img"
    base.write_bytes(b"a base")
    run = plain.run(plain.dispatch(rehearsal_only=False, image=IMAGE, base_url=base.as_uri()))
    assert run.jobs["image/image (jammy)"].step("Build").outcome is Result.FAILURE
    assert "**Failed:**" in run.summary
    assert base.name in run.summary
    assert plain.server.releases(plain.repository) == []


@pytest.mark.parametrize(
    ("path", "edit", "message"),
    [
        (
            "ci/host/accelerator/__init__.py",
            stood_in("accelerator", "missing as find_kvm_fault"),
            "this machine lacks accelerator",
        ),
        ("ci/host/prerequisites.py", replaced("_BYTES = 6 *", "_BYTES = 6_000_000 *"), "this machine lacks disk space"),
    ],
    ids=["no KVM", "no space"],
)  # fmt: skip
def test_a_runner_that_is_not_ready(make_scene: MakeScene, path: str, edit: Edit, message: str) -> None:
    made = make_scene(edits=LIGHT | {path: edit})
    run = made.run(made.push_tag(TAG))
    assert run.jobs["image/image (jammy)"].result is Result.FAILURE
    assert run.jobs["publish"].result is Result.SKIPPED
    assert message in run.summary
    assert "image-jammy" not in artifacts(made, run)
    assert made.server.releases(made.repository) == []


def test_a_commit_that_cannot_be_released_says_so_at_once_and_its_tag_can_be_moved(plain: Scene) -> None:
    plain.commit({"build/authorized_keys": lambda _: "# nobody\n"})
    try:
        run = plain.run(plain.push_tag(TAG))
    finally:
        plain.commit({"build/authorized_keys": lambda _: KEY})
    assert run.results()["image/plan"] == "failure"
    assert set(run.results().values()) == {"failure", "skipped"}
    assert f"git tag --force {TAG} && git push --force origin {TAG}" in html.unescape(run.summary)
    assert plain.run(plain.push_tag(TAG)).results()["image/plan"] == "success"


def test_another_branch_than_the_default_one_releases_nothing(plain: Scene) -> None:
    run = plain.run(plain.dispatch("refs/heads/feature", rehearsal_only=False, version=TAG))
    assert run.results()["image/plan"] == "failure"
    assert {run.results()[job] for job in ("attest", "publish", "roll-out")} == {"skipped"}
    assert "this run is on the branch 'feature'" in run.summary


def test_a_run_that_is_cancelled_while_it_boots(make_scene: MakeScene) -> None:
    made = make_scene(edits=LIGHT | {"ci/boot/all_boots.py": stood_in("boot", "endless as boot_all")})
    made.interference.cancel_at[BOOT_TEST] = "waiting for the guest"
    run = made.run(made.push_tag(TAG))
    assert run.cancelled
    assert run.jobs["image/image (jammy)"].result is Result.CANCELLED
    assert run.jobs["publish"].result is Result.SKIPPED
    assert "interrupted" in run.summary.lower()
    assert artifacts(made, run) == ["reports-jammy"]
    assert made.server.releases(made.repository) == []


def test_a_record_that_was_replaced_after_it_was_published_is_not_rolled_out(make_scene: MakeScene) -> None:
    made = make_scene()

    def tamper() -> None:
        (release,) = made.server.releases(made.repository)
        (asset,) = (one for one in release["assets"] if one["name"] == "release.json")
        text = made.server.asset_bytes(asset["id"]).read_text()
        made.server.asset_bytes(asset["id"]).write_text(text.replace("debian-12", "debian-13"))

    made.interference.before_step["roll-out", "Check out"] = tamper
    run = made.run(made.push_tag(TAG))
    assert run.results()["publish"] == "success"
    assert run.results()["roll-out"] == "failure", run.jobs["roll-out"].log
    assert made.server.pulls(made.repository) == []


@pytest.mark.parametrize("job", ["attest", "publish"])
def test_an_image_that_changed_between_two_jobs(make_scene: MakeScene, job: str) -> None:
    made = make_scene()

    def tamper() -> None:
        (image,) = made.side.artifacts.glob("*/image-jammy/*.qcow2")
        with image.open("ab") as file:
            file.write(b"x")

    made.interference.before_step[job, "Fetch images and reports"] = tamper
    run = made.run(made.push_tag(TAG))
    assert run.jobs[job].step("Compare the digests").outcome is Result.FAILURE
    assert "has SHA-256" in run.summary
    assert made.server.releases(made.repository) == []
