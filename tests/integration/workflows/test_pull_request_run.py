"""Pull requests, own ones and from forks; building and booting are stood in for: see scene.LIGHT."""

import pytest
import requests

from ci.workflow.report_pull_request import MARKER
from tests.integration.workflows.conftest import MakeScene, artifacts, public_releases
from tests.support.workflows.engine import Event
from tests.support.workflows.model import Result
from tests.support.workflows.scene import LIGHT, SECOND, Scene, replaced, stood_in

pytestmark = pytest.mark.integration

TAG = "v2026.05.06"
BOTH = {
    "image/plan": "success",
    "image/image (jammy)": "success",
    "image/image (bookworm)": "success",
    "image/collect": "success",
}


def comments_url(made: Scene, event: Event) -> str:
    number = event.github["event"]["pull_request"]["number"]
    return f"{made.server.url}/repos/{made.repository}/issues/{number}/comments"


def comments(made: Scene, event: Event) -> list[str]:
    return [comment["body"] for comment in requests.get(comments_url(made, event), timeout=60).json()]


def test_images_are_built_tested_and_reported_beside_the_last_release_in_one_comment(make_scene: MakeScene) -> None:
    released = replaced("release = false", "release = true")
    made = make_scene(edits=LIGHT | {f"build/images/{SECOND}.toml": released})
    tagged = made.run(made.push_tag(TAG))
    assert public_releases(made) == [TAG]
    assert len(made.side.attestations) == 2 * len(["image", "SBOM", "contents"]) + len(["record", "snippet", "tool"])
    names = {asset["name"] for asset in made.server.releases(made.repository)[0]["assets"]}
    assert {f"fountainkit-toolsmith-{one}-{TAG}.qcow2" for one in ("debian-12", "second")} <= names
    assert artifacts(made, tagged) == [
        "image-bookworm", "image-jammy", "logs-attest", "logs-publish", "logs-roll-out",
        "reports-bookworm", "reports-jammy",
    ]  # fmt: skip

    event = made.open_pull({"build/guest/etc/motd": lambda _: "changed\n"})
    theirs = f"{MARKER}\nI am a person"
    headers = {"Authorization": f"Bearer {made.server.token}"}
    requests.post(comments_url(made, event), json={"body": theirs}, headers=headers, timeout=60).raise_for_status()
    run = made.run(event)
    assert run.results() == BOTH | {"report": "success", "gate": "success"}
    assert artifacts(made, run) == [
        "reports-bookworm",
        "reports-jammy",
    ]  # an image fills a private repository's storage
    persons, ours = comments(made, event)
    assert persons == theirs
    assert ours.startswith(MARKER)
    for text in ("### Images: good", "| `jammy` | 6 passed |", "| `bookworm` | 6 passed |", f"Compared with [{TAG}]"):
        assert text in ours
        assert text in run.summary

    # The next push breaks it; one image's failure does not hide the other's.
    again = made.run(made.push_to(event, {"ci/boot/all_boots.py": stood_in("boot", "failed as boot_all")}))
    assert again.results() == {
        "image/plan": "success", "image/image (jammy)": "failure", "image/image (bookworm)": "failure",
        "image/collect": "skipped", "report": "success", "gate": "failure",
    }  # fmt: skip
    assert "The images are not good" in again.summary
    assert artifacts(made, again) == ["reports-bookworm", "reports-jammy"]
    persons, ours = comments(made, event)
    assert "### Images: not good" in ours
    assert "| `jammy` | `full` | [`root-locked`](" in ours


def test_a_fork_gets_the_same_test_without_secrets_and_without_a_comment(make_scene: MakeScene) -> None:
    made = make_scene(variables={"ROLLOUT_APP_CLIENT_ID": "Iv1.test"}, secrets={"ROLLOUT_APP_PRIVATE_KEY": "secret"})
    text = replaced('distribution = "second"', 'distribution = "third"')(
        (made.root / f"build/images/{SECOND}.toml").read_text()
    )
    event = made.open_pull({"build/images/third.toml": lambda _: text}, fork=True)
    run = made.run(event)
    # A new definition needs no other change.
    assert run.results() == BOTH | {"image/image (third)": "success", "report": "success", "gate": "success"}
    assert "| `third` | 6 passed |" in run.summary
    assert comments(made, event) == []
    assert "The token may not comment" in run.log
    assert not [job for job in run.jobs.values() if "write" in job.permissions.values()]

    refused = made.run(made.dispatch(rehearsal_only=False, version=TAG, resume=str(run.id)))
    assert refused.jobs["image/plan"].result is Result.FAILURE
    assert "is not a run of this repository's release workflow" in refused.summary


def test_a_roll_out_or_a_text_rebuilds_nothing_and_passes_the_required_check(make_scene: MakeScene) -> None:
    made = make_scene()
    event = made.open_pull({path: lambda text: text + "\n" for path in ("manifests/tools.json", "docs/releases.md")})
    run = made.run(event)
    assert run.results() == {
        "image/plan": "success", "image/image": "skipped", "image/collect": "skipped",
        "report": "success", "gate": "success",
    }  # fmt: skip
    assert "No image was built: nothing" in run.summary
    assert comments(made, event) == []


def test_a_merge_queue_has_the_same_checks_and_no_comment(make_scene: MakeScene) -> None:
    made = make_scene()
    event = made.open_pull({"build/guest/etc/motd": lambda _: "changed\n"})
    run = made.run(made.queue(event))
    assert run.results() == BOTH | {"report": "skipped", "gate": "success"}
    assert "changed: build/guest/etc/motd" in run.log
    assert comments(made, event) == []

    text = made.open_pull({"docs/releases.md": lambda text: text + "\n"})
    run = made.run(made.queue(text))
    assert run.results() == {
        "image/plan": "success", "image/image": "skipped", "image/collect": "skipped",
        "report": "skipped", "gate": "success",
    }  # fmt: skip

    wrong = made.open_pull({"build/images/jammy.toml": replaced("release = true", "relase = true")})
    assert made.run(made.queue(wrong)).results()["gate"] == "failure"


def test_a_definition_that_is_wrong_fails_the_required_check(make_scene: MakeScene) -> None:
    made = make_scene()
    event = made.open_pull({"build/images/jammy.toml": replaced("release = true", "relase = true")})
    run = made.run(event)
    assert run.results()["gate"] == "failure"
    assert "is not a valid image definition" in run.summary
    assert "No image was built: the run failed before that" in run.summary
