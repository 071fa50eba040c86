"""Releases, by tag and by hand, from end to end; building and booting are stood in for: see scene.LIGHT."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from ci.host.files import sha256_file
from ci.rehearsal.faults import Effect, Fault
from tests.integration.workflows.conftest import MakeScene, artifacts, public_releases
from tests.support.workflows.model import Result, Run
from tests.support.workflows.scene import LIGHT, SECOND, Scene, stood_in

pytestmark = pytest.mark.integration

TAG = "v2026.05.06"
IMAGE_JOBS = {"image/plan": "success", "image/image (jammy)": "success", "image/collect": "success"}
IMAGE, BOOT_TEST = "image/image (jammy)", ("image/image (jammy)", "Boot test")


def manifest(made: Scene) -> dict[str, Any]:
    text = made.server.read(made.repository, "manifests/tools.json", ref=f"rollout/{TAG}")
    result: dict[str, Any] = json.loads(text or "{}")
    return result


def published_file(made: Scene, name: str) -> str:
    (release,) = made.server.releases(made.repository)
    found = next(asset for asset in release["assets"] if asset["name"] == name)
    return made.server.asset_bytes(found["id"]).read_text(encoding="utf-8")


def the_image(made: Scene, run: Run) -> Path:
    return next((made.side.artifacts / str(run.id) / "image-jammy").glob("*.qcow2"))


def test_a_pushed_tag_becomes_a_release_and_a_roll_out_once(
    make_scene: MakeScene, with_app: dict[str, Mapping[str, str]], consumer: str
) -> None:
    made = make_scene(**with_app)
    run = made.run(made.push_tag(TAG))
    assert run.results() == IMAGE_JOBS | {
        "rehearse": "skipped", "attest": "success", "attest-contents (jammy)": "success", "publish": "success",
        "roll-out": "success",
    }  # fmt: skip
    assert public_releases(made) == [TAG]
    digest = sha256_file(the_image(made, run))
    # What was built is what is attested, is what is published, is what the manifest names: the same bytes all along.
    assets = made.server.releases(made.repository)[0]["assets"]
    published = {asset["name"]: asset["digest"].removeprefix("sha256:") for asset in assets}
    provenance = {one.subject: one.sha256 for one in made.side.attestations if one.predicate == "provenance"}
    stem = f"fountainkit-toolsmith-debian-12-{TAG}"
    files = {"release.json", "manifest-snippet.json", "ensure-vm.pyz"}
    assert set(provenance) == {f"{stem}.qcow2", f"{stem}.cdx.json", *files}
    assert provenance.items() <= published.items()
    assert provenance[f"{stem}.qcow2"] == digest
    assert [one.sha256 for one in made.side.attestations if one.predicate == "sbom"] == [digest]
    records = {run.jobs[job].outputs["record-sha256"] for job in ("attest", "publish")}
    assert records == {provenance["release.json"]}
    assert manifest(made)["image"]["qcow2_sha256"] == digest
    record = made.server.read(made.repository, f"releases/{TAG}.json", ref=f"rollout/{TAG}")
    assert record == published_file(made, "release.json")
    assert json.loads(record)["commit"] == made.head()
    for repository in (made.repository, consumer):
        (pull,) = made.server.pulls(repository)
        assert pull["state"] == "open"
        assert TAG in pull["title"]
    assert [repository for repository, _ in made.side.tokens] == [made.repository, consumer]
    assert "gh attestation verify" in made.server.releases(made.repository)[0]["body"]
    assert "No app is configured" not in run.summary
    for repository, token in made.side.tokens:
        assert token.secret not in run.log.replace(f"::add-mask::{token.secret}", "")
        answer = requests.get(f"{made.server.url}/repos/{repository}", auth=("app", token.secret), timeout=60)
        assert answer.status_code == 401  # its job has ended

    again = made.run(made.push_tag(TAG))
    assert again.results()["image/plan"] == "failure"
    assert f"{TAG} is published already" in again.summary
    assert len(made.server.releases(made.repository)) == 1


def test_a_private_repository_without_an_app_does_what_it_can_and_says_so(make_scene: MakeScene) -> None:
    made = make_scene(private=True, variables={"FOUNTAINKIT_NAME": "FountainKit"})
    run = made.run(made.push_tag(TAG))
    assert run.results() == IMAGE_JOBS | {
        "rehearse": "skipped", "attest": "skipped", "attest-contents": "skipped", "publish": "success",
        "roll-out": "success",
    }  # fmt: skip
    assert "gh attestation verify" not in made.server.releases(made.repository)[0]["body"]
    assert len(made.server.pulls(made.repository)) == 1
    assert made.side.tokens == []
    assert "**No app is configured**" in run.summary
    assert "gets no pull request" in run.log


def test_a_rehearsal_publishes_nothing_and_its_images_can_be_released_by_a_later_run(make_scene: MakeScene) -> None:
    made = make_scene()
    rehearsed = made.run(made.dispatch(version=TAG))
    assert rehearsed.results() == IMAGE_JOBS | {
        "rehearse": "success", "attest": "skipped", "attest-contents": "skipped", "publish": "skipped",
        "roll-out": "skipped",
    }  # fmt: skip
    assert made.server.releases(made.repository) == []
    assert f"Rehearsal of {TAG}" in rehearsed.log

    resumed = made.run(made.dispatch(version=TAG, rehearsal_only=False, resume=str(rehearsed.id)))
    assert resumed.results() == {
        "image/plan": "success", "image/image": "skipped", "image/collect": "success", "rehearse": "skipped",
        "attest": "success", "attest-contents (jammy)": "success", "publish": "success", "roll-out": "success",
    }  # fmt: skip
    assert public_releases(made) == [TAG]
    assert manifest(made)["image"]["qcow2_sha256"] == sha256_file(the_image(made, rehearsed))

    refused = made.run(made.dispatch(version="v2026.05.07", image=SECOND, rehearsal_only=False))
    assert refused.results()["image/plan"] == "failure"
    assert "'bookworm' is not one that releases carry" in refused.summary


def test_a_release_that_fails_at_every_stage_is_continued_by_running_the_failed_job_again(
    make_scene: MakeScene, with_app: dict[str, Mapping[str, str]]
) -> None:
    once = stood_in("boot", "first_failed as boot_all")
    made = make_scene(edits=LIGHT | {"ci/boot/all_boots.py": once}, variables=with_app["variables"])
    event = made.push_tag(TAG)

    first = made.run(event)
    assert first.jobs[IMAGE].step("Boot test").outcome is Result.FAILURE
    assert first.results()["publish"] == "skipped"
    assert "1 checks failed: root-locked" in first.summary
    assert artifacts(made, first) == ["reports-jammy"]

    # The names of the artifacts are taken by now. The run is cancelled in the middle of the upload.
    made.interference.cancel_at["publish", "Publish"] = f"upload fountainkit-toolsmith-debian-12-{TAG}.packages.tsv"
    second = made.run(event, before=first)
    made.interference.cancel_at.clear()
    assert second.jobs["image/plan"] is first.jobs["image/plan"]
    assert second.jobs["publish"].result is Result.CANCELLED
    assert second.results()["roll-out"] == "skipped"
    assert public_releases(made) == []

    made.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, method="POST", path=r"/assets$", times=100))
    third = made.run(event, before=second)
    made.server.faults.clear()
    assert third.jobs[IMAGE] is second.jobs[IMAGE]
    assert "**Failed:**\n\n<pre>upload of fountainkit-toolsmith-debian-12" in third.summary
    assert public_releases(made) == []

    fourth = made.run(event, before=third)
    assert fourth.results()["publish"] == "success"
    assert fourth.jobs["roll-out"].step("Get the app's token for this repository").outcome is Result.FAILURE
    assert "private-key" in fourth.jobs["roll-out"].log
    assert public_releases(made) == [TAG]

    made.settings = made.settings.with_secrets("roll-out", with_app["secrets"])
    fifth = made.run(event, before=fourth)
    assert fifth.attempt == 5
    assert fifth.jobs["publish"] is fourth.jobs["publish"]
    assert fifth.result is Result.SUCCESS
    assert len(made.server.releases(made.repository)) == len(made.server.pulls(made.repository)) == 1
