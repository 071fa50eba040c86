"""From any file of a published release, and from nothing else, back to what went into it."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ci import verify_release
from ci.host.errors import InputError, UnknownOriginError, VerificationError
from ci.host.process import held_port
from ci.records import artifacts
from tests.support.releasing import PACKAGES, TAG, build_record
from tests.support.stage import OLDER, Run, Stage, release_older, sha256

pytestmark = pytest.mark.integration

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the command printed: for people in `run.said`, for programs in `found`."""

    run: Run
    found: dict[str, Any]


def identified(stage: Stage, subject: object, *flags: str, releases: Path | None = None) -> Found:
    folder = releases or stage.folder / "no releases here"
    asked = ["--file" if isinstance(subject, Path) else "--digest", str(subject)]
    argv = [*asked, "--json", "--releases", str(folder), *flags]
    with redirect_stdout(io.StringIO()) as printed:
        run = stage.run(verify_release.main, verify_release.arguments(), argv)
    return Found(run=run, found=json.loads(printed.getvalue() or "{}"))


def anonymous(stage: Stage) -> Stage:
    return stage.with_environ(GITHUB_TOKEN="")


def release(stage: Stage) -> Path:
    """A release on top of an earlier one, rolled out and merged; its image as somebody downloaded it."""
    release_older(stage)
    stage.build()
    assert stage.publish_attested().code == 0
    assert stage.roll_out().code == 0
    stage.server.merge_pull(stage.repository, 1)
    path = stage.folder / "some.qcow2"
    path.write_bytes(stage.asset(f"{STEM}.qcow2"))
    return path


def checkout(stage: Stage) -> Path:
    """The folder releases/ as a clone of the default branch has it."""
    folder = stage.folder / "releases"
    folder.mkdir()
    for path in stage.tree():
        if path.startswith("releases/"):
            (stage.folder / path).write_text(stage.read(path) or "", encoding="utf-8")
    return folder


@pytest.mark.parametrize("where", ["GitHub", "GitHub, without a token", "the repository"])
def test_an_image_alone_leads_to_commit_base_packages_validation_and_pull_request(stage: Stage, where: str) -> None:
    image = release(stage)
    commit = stage.record().commit
    asked = anonymous(stage) if "without" in where else stage
    result = identified(asked, image, releases=checkout(stage) if where == "the repository" else None)
    assert result.run.code == 0, result.run.said
    assert result.run.writes == []
    found, record = result.found, result.found["record"]
    build = build_record()
    assert (found["tag"], found["intact"], found["published"], found["differences"]) == (TAG, True, True, [])
    assert record["commit"] == commit == stage.server.tag_commit(stage.repository, TAG)
    assert (record["image"]["base"]["url"], record["image"]["base"]["sha256"]) == (build.base.url, build.base.sha256)
    assert record["image"]["base"]["verification"] == "pinned-digest"
    assert record["image"]["definition_sha256"] == build.definition_sha256
    assert record["image"]["packages"] == len(PACKAGES)
    assert record["image"]["validation"]["passed"] == 2
    assert record["image"]["attestation"]["url"].endswith(f"/attestations/sha256:{sha256(image.read_bytes())}")
    assert record["previous"]["tag"] == OLDER
    assert found["pull_request"] == {"url": stage.pulls()[0]["html_url"], "state": "merged"}
    assert found["superseded_by"] is None
    said = "".join(result.run.said.split())
    for words in (TAG, commit, build.base.url, "1added", "2passed", stage.pulls()[0]["html_url"], OLDER):
        assert words in said


def test_every_file_of_a_release_leads_to_it(stage: Stage) -> None:
    release(stage)
    for asset in stage.releases()[0]["assets"]:
        path = stage.folder / "given"
        path.write_bytes(stage.asset(asset["name"]))
        result = identified(stage, path)
        assert (result.run.code, result.found["tag"], result.found["intact"]) == (0, TAG, True), result.run.said
        # The consumer's tool is the same in both releases.
        assert result.found["file"]["name"] == asset["name"] or result.found["also_in"]


@pytest.mark.parametrize("prefix", ["", "sha256:"])
def test_a_digest_does_too_but_says_nothing_of_bytes(stage: Stage, prefix: str) -> None:
    digest = sha256(release(stage).read_bytes())
    for subject in (f"{prefix}{digest}", f"{prefix}{digest.upper()}"):
        result = identified(stage, subject)
        assert (result.run.code, result.found["tag"], result.found["intact"]) == (0, TAG, None), result.run.said


def test_an_older_release_is_said_to_be_superseded(stage: Stage) -> None:
    release(stage)
    older = next(asset for asset in stage.record(OLDER).assets if asset.name.endswith(".qcow2"))
    result = identified(stage, older.sha256)
    assert (result.found["tag"], result.found["superseded_by"], result.found["pull_request"]) == (OLDER, TAG, None)
    assert "it was not rolled out" in " ".join(result.run.said.split())


@pytest.mark.parametrize("local", [False, True])
def test_a_file_that_changed_on_the_way_is_not_intact(stage: Stage, *, local: bool) -> None:
    path = release(stage).with_name(f"{STEM}.qcow2")
    path.write_bytes(stage.asset(path.name)[:-1])
    result = identified(stage, path, releases=checkout(stage) if local else None)
    assert result.run.code == VerificationError.exit_code
    assert "is not the file that v2026.11.23 published under this name" in result.run.said
    assert (result.found["tag"], result.found["intact"]) == (TAG, False)


@pytest.mark.parametrize("name", ["other.qcow2", "ensure-vm.pyz", artifacts.RELEASE, "fountainkit-v2026.11.23.qcow2"])
def test_a_file_of_unknown_origin_is_never_guessed_at(stage: Stage, name: str) -> None:
    release(stage)
    path = stage.folder / name
    path.write_bytes(b"QFI\xfb from somewhere")
    result = identified(stage, path, releases=checkout(stage))
    assert result.run.code == UnknownOriginError.exit_code
    assert f"no release of {stage.repository} knows" in result.run.said
    assert result.found == {}


def test_without_a_repository_it_says_what_to_name(stage: Stage) -> None:
    image = release(stage)
    nowhere = stage.with_environ(GITHUB_REPOSITORY="")
    result = identified(nowhere, image)
    assert result.run.code == UnknownOriginError.exit_code
    assert "--repository OWNER/NAME" in result.run.said
    assert result.run.exchanges == ()
    assert identified(nowhere, image, "--repository", stage.repository).found["tag"] == TAG
    # What the record says is enough to ask on.
    assert identified(nowhere, image, releases=checkout(stage)).found["pull_request"]["state"] == "merged"


def test_a_release_without_a_record_is_said_to_be_one(stage: Stage) -> None:
    path = stage.folder / "some.qcow2"
    path.write_bytes(b"QFI\xfb made by hand")
    stage.make_release(OLDER, {path.name: path.read_bytes()})
    result = identified(stage, path)
    assert result.run.code == UnknownOriginError.exit_code
    assert "a release without a record" in result.run.said


def test_a_record_of_another_schema_version_is_said_to_be_one(stage: Stage) -> None:
    image = release(stage)
    releases = checkout(stage)
    newer = {"schema": "fountainkit-toolsmith-image/release/9", "tag": "v2027.01.01"}
    (releases / "v2027.01.01.json").write_text(json.dumps(newer))
    words = "is a record of schema 'fountainkit-toolsmith-image/release/9'"
    result = identified(stage, "f" * 64, "--offline", releases=releases)
    assert (result.run.code, words in result.run.said) == (InputError.exit_code, True), result.run.said
    assert identified(stage, image, releases=releases).found["tag"] == TAG
    data = json.dumps(newer).encode()
    stage.make_release("v2027.01.01", {artifacts.RELEASE: data})
    remote = identified(stage, sha256(data))
    assert (remote.run.code, words in remote.run.said) == (VerificationError.exit_code, True), remote.run.said


def test_a_release_that_somebody_changed_is_found_out(stage: Stage) -> None:
    image = release(stage)
    name = f"{STEM}.cdx.json"
    asset = next(asset for asset in stage.releases()[0]["assets"] if asset["name"] == name)
    stage.api("DELETE", f"/releases/assets/{asset['id']}")
    stage.upload(stage.releases()[0], name, b"x" * asset["size"])
    result = identified(stage, image)
    assert result.run.code == VerificationError.exit_code
    assert (result.found["intact"], len(result.found["differences"])) == (True, 1)
    assert f"{name} is not what was tested" in " ".join(result.run.said.split())
    # Its new bytes are of the release, but not of its record.
    changed = stage.folder / "changed"
    changed.write_bytes(b"x" * asset["size"])
    contradicted = identified(stage, changed)
    assert contradicted.run.code == VerificationError.exit_code
    assert "its record does not know it" in contradicted.run.said


def test_a_draft_is_no_origin(stage: Stage) -> None:
    dist = stage.build()
    stage.make_draft({path.name: path.read_bytes() for path in dist.glob("*.qcow2")})
    assert identified(stage, dist / f"{STEM}.qcow2").run.code == UnknownOriginError.exit_code


def test_what_the_repository_knows_needs_no_network(stage: Stage) -> None:
    image = release(stage)
    releases = checkout(stage)
    silent = identified(stage, image, "--offline", releases=releases)
    assert (silent.run.code, silent.run.exchanges) == (0, ())
    assert (silent.found["tag"], silent.found["pull_request"]) == (TAG, None)
    assert f"rollout/{TAG}" in "".join(silent.run.said.split())
    with held_port() as port:
        down = identified(stage.with_environ(GITHUB_API_URL=f"http://localhost:{port}"), image, releases=releases)
    assert (down.run.code, down.found["tag"], down.found["published"]) == (0, TAG, None)
    assert "GitHub tells nothing about it" in down.run.said
