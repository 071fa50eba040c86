"""Nothing can be slipped in between publishing and roll-out: each link is compared with the one before it."""

import functools
import json
from collections.abc import Callable

import pytest

from ci.host.errors import RefusedError, ToolsmithError, UnprovenError, VerificationError
from ci.records import artifacts
from ci.rehearsal.faults import Effect, Fault, Moment
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.releasing import TAG
from tests.support.scripted_gh import ScriptedGh
from tests.support.stage import FILES, MANIFEST, Run, Stage, assert_proposed, meanwhile, sha256

pytestmark = pytest.mark.integration


@pytest.fixture
def gh(published: Stage, monkeypatch: pytest.MonkeyPatch) -> ScriptedGh:
    """A gh that knows no attestation yet."""
    result = ScriptedGh(published.folder / "bin")
    monkeypatch.setenv("PATH", result.path)
    return result


def attest(gh: ScriptedGh, stage: Stage, ref: str) -> None:
    identity = {"sourceRepositoryIdentifier": str(stage.api("GET", "")["id"])}
    data = stage.asset(artifacts.RELEASE)
    gh.attest(data, repository=stage.repository, commit=stage.record().commit, ref=ref, fields=identity)


def assert_refused(stage: Stage, run: Run, before: object, error: type[ToolsmithError] = VerificationError) -> None:
    assert run.code == error.exit_code, run.said
    assert "next:" in run.said
    assert "Traceback" not in run.said
    assert (run.writes, stage.state()) == ([], before)


# What somebody does between publishing and roll-out


def replace_image_and_record(stage: Stage) -> None:
    record, evil = stage.record(), b"QFI\xfb something else"
    name = record.image.qcow2.name
    qcow2 = record.image.qcow2.model_copy(update={"sha256": sha256(evil), "size": len(evil)})
    assets = [qcow2 if asset.name == name else asset for asset in record.image.assets]
    image = record.image.model_copy(update={"qcow2": qcow2, "assets": assets})
    text = record.model_copy(update={"image": image}).to_json()
    stage.replace_asset(name, evil)
    stage.replace_asset(artifacts.RELEASE, text.encode())
    assert stage.record().image.qcow2.sha256 == sha256(evil)


def replace_url(stage: Stage, url: str) -> None:
    text = json.dumps(json.loads(stage.asset(artifacts.RELEASE)))
    stage.replace_asset(artifacts.RELEASE, text.replace(stage.record().image.qcow2.url, url).encode())


def respell_record(stage: Stage) -> None:
    stage.replace_asset(artifacts.RELEASE, json.dumps(json.loads(stage.asset(artifacts.RELEASE))).encode())


def move_tag(stage: Stage) -> None:
    commit = stage.server.commit(stage.repository, {"new.txt": "New\n"}, branch="other")
    stage.api("PATCH", f"/git/refs/tags/{TAG}", {"sha": commit, "force": True})


def delete_tag(stage: Stage) -> None:
    stage.api("DELETE", f"/git/refs/tags/{TAG}")


def replace_image(stage: Stage) -> None:
    name = stage.record().image.qcow2.name
    stage.replace_asset(name, b"x" * len(stage.asset(name)))


def delete_release(stage: Stage) -> None:
    stage.api("DELETE", f"/releases/{stage.releases()[0]['id']}")


ACTS: dict[str, Callable[[Stage], None]] = {
    "image and record replaced": replace_image_and_record,
    "record respelled": respell_record,
    "address of another server": functools.partial(replace_url, url="http://evil.example/x.qcow2"),
    "address of a script": functools.partial(replace_url, url="javascript:alert(1)"),
    "tag moved": move_tag,
    "tag deleted": delete_tag,
    "image replaced": replace_image,
}


@pytest.mark.parametrize("name", ACTS)
def test_what_was_changed_after_publishing_is_not_rolled_out(published: Stage, name: str) -> None:
    ACTS[name](published)
    before = published.state()
    assert_refused(published, published.roll_out(), before)


LATER = {name: ACTS[name] for name in ("image and record replaced", "tag moved", "tag deleted")}
LATER["release deleted"] = delete_release
STEPS = [("GET", "/pulls$"), ("GET", "/git/trees/[0-9a-f]+$"), ("GET", "/git/ref/heads/rollout/")]


@pytest.mark.parametrize("step", STEPS, ids=[f"{verb} {path}" for verb, path in STEPS])
@pytest.mark.parametrize("name", LATER)
def test_nor_what_was_changed_while_we_looked(published: Stage, name: str, step: tuple[str, str]) -> None:
    verb, path = step
    held = published.server.faults.arm(Fault(effect=Effect.PAUSE, moment=Moment.BEFORE, method=verb, path=path))
    with meanwhile(held, lambda: LATER[name](published)):
        run = published.roll_out()
    assert run.code in {VerificationError.exit_code, RefusedError.exit_code}, run.said
    assert published.pulls() == []
    assert not [name for name in published.branches() if name.startswith("rollout/")]


@pytest.mark.parametrize("path", ["/git/trees$", "/git/refs$", "/pulls$"])
@pytest.mark.parametrize("name", LATER)
def test_what_was_changed_while_we_wrote_is_taken_back(published: Stage, name: str, path: str) -> None:
    held = published.server.faults.arm(Fault(effect=Effect.PAUSE, moment=Moment.BEFORE, method="POST", path=path))
    with meanwhile(held, lambda: LATER[name](published)):
        run = published.roll_out()
    assert run.code in {VerificationError.exit_code, RefusedError.exit_code}, run.said
    assert "was proposed, and is taken back" in run.said
    assert [pull["state"] for pull in published.pulls()] == ["closed"]
    assert not [name for name in published.branches() if name.startswith("rollout/")]


def test_an_update_that_is_taken_back_leaves_what_was_there(published: Stage) -> None:
    assert published.roll_out().code == 0
    published.api("PATCH", "/pulls/1", {"body": "Mine"})
    published.server.commit(published.repository, {"new.txt": "New\n"})
    before = published.state()
    fault = Fault(effect=Effect.PAUSE, moment=Moment.BEFORE, method="PATCH", path="/git/refs/heads/")
    with meanwhile(published.server.faults.arm(fault), lambda: delete_tag(published)):
        run = published.roll_out()
    assert run.code == VerificationError.exit_code, run.said
    after = published.state()
    assert after["pulls"] == before["pulls"]
    del before["references"][f"refs/tags/{TAG}"]
    assert after["references"] == before["references"]


# By hand


def test_publishing_tells_the_command_that_rolls_out(stage: Stage) -> None:
    stage.build()
    (command,) = [line for line in stage.publish().said.splitlines() if "toolsmith-image roll-out" in line]
    assert stage.propose(*command.split("toolsmith-image roll-out")[1].split()).code == 0
    assert_proposed(stage)


def test_without_a_digest_and_without_an_attestation_the_digest_is_asked_for(published: Stage, gh: ScriptedGh) -> None:
    before = published.state()
    run = published.propose("--tag", TAG)
    assert len(gh.asked()) == 1
    assert_refused(published, run, before, UnprovenError)
    assert "--record-sha256" in run.said


def test_without_a_digest_the_attestation_decides(published: Stage, gh: ScriptedGh) -> None:
    attest(gh, published, f"refs/tags/{TAG}")
    assert published.propose("--tag", TAG).code == 0
    assert_proposed(published)


@pytest.mark.parametrize(
    ("ref", "error"), [("refs/heads/theirs", UnprovenError), ("refs/tags/v2026.11.24", VerificationError)]
)
def test_a_record_that_was_attested_elsewhere_is_refused(
    published: Stage, gh: ScriptedGh, ref: str, error: type[ToolsmithError]
) -> None:
    before = published.state()
    attest(gh, published, ref)
    assert_refused(published, published.propose("--tag", TAG), before, error)


def test_a_dry_run_needs_neither_token_nor_digest(published: Stage, new_stage: Callable[..., Stage]) -> None:
    consumer = new_stage({CONSUMER_MANIFEST: FILES[MANIFEST]})
    before = published.state()
    run = published.with_environ(GITHUB_TOKEN="", FOUNTAINKIT_REPOSITORY=consumer.repository).propose(
        "--tag", TAG, "--dry-run"
    )
    assert (run.code, run.writes) == (0, []), run.said
    assert published.state() == before
    for words in ("could not be checked", f"a/{MANIFEST}", f"a/{CONSUMER_MANIFEST}", "would open a pull request"):
        assert words in run.said


@pytest.mark.parametrize("text", ["0" * 63, "G" * 64, "sha256:"])
def test_a_digest_that_is_none(published: Stage, text: str) -> None:
    run = published.propose("--tag", TAG, "--record-sha256", text)
    assert (run.code, run.exchanges) == (2, ())
