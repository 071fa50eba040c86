"""A release that nothing disturbs: what it makes, what a second run does, and what it costs."""

import re
from collections import Counter
from collections.abc import Callable

import pytest

from ci.consume.bundle import NAME as ENSURE_VM_NAME
from ci.host.errors import RefusedError, RemoteError, VerificationError
from ci.records import artifacts
from ci.rehearsal.faults import Effect, Fault
from ci.release.dist import REQUIRED
from tests.support import sequence
from tests.support.releasing import ENSURE_VM, TAG
from tests.support.stage import (
    NEWER,
    OLDER,
    Run,
    Stage,
    assert_proposed,
    assert_released,
    published_files,
    release_older,
    sha256,
)

pytestmark = pytest.mark.integration

MOST_CALLS = 48  # docs/releasing.md
# What a release has beside an image's files.
BESIDE = ("ensure-vm.pyz", artifacts.SNIPPET, artifacts.RELEASE)
# Of the API's host; a public address is the web site's, and what it redirects to the store's.
API = ("/repos/", "/api/uploads/")


def test_a_release_has_every_file_and_a_record_that_tells_where_they_are(stage: Stage) -> None:
    dist = stage.build()
    run = stage.publish()
    assert run.code == 0, run.said
    assert_released(stage, dist)
    (release,) = stage.releases()
    where = {asset["name"]: asset["browser_download_url"] for asset in release["assets"]}
    assert where.keys() == {*published_files(dist), *BESIDE}
    assert len(where) == len(REQUIRED) + len(BESIDE)
    assert release["html_url"] in run.said
    assert release["name"] == TAG
    assert stage.server.tag_commit(stage.repository, TAG) == stage.head()
    record = stage.record()
    assert {asset.name: asset.url for asset in record.assets} | {artifacts.RELEASE: where[artifacts.RELEASE]} == where
    assert (record.tag, record.url, record.commit) == (TAG, release["html_url"], stage.head())
    assert record.previous is None
    assert_asked_once(run)


def assert_asked_once(run: Run) -> None:
    """Every asset was sent once, and nothing was read twice but what others may have changed meanwhile."""
    uploads = [exchange.query["name"] for exchange in run.exchanges if "/uploads/" in exchange.path]
    assert len(uploads) == len(set(uploads)) == len(REQUIRED) + len(BESIDE)
    reads = Counter(sequence.name(exchange) for exchange in run.exchanges if exchange.method == "GET")
    again = {"GET releases": 2, "GET releases/ID/assets": 2, "GET git/ref/tags/TAG": 3}
    assert {name: times for name, times in reads.items() if times > 1} == again
    assert run.slept == ()


@pytest.mark.parametrize("longest_page", [100, 40])
def test_among_150_releases_the_draft_and_the_release_before_are_found(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, longest_page: int
) -> None:
    """They are the first of all, on the last page of the list; the server's pages may be shorter than asked for."""
    monkeypatch.setattr(stage.server.quirks, "longest_page", longest_page)
    release_older(stage)
    dist = stage.build()
    draft = stage.make_draft()
    for number in range(150):
        stage.api("POST", "/releases", {"tag_name": f"v2024.01.01.{number + 1}"})
    run = stage.publish()
    assert run.code == 0, run.said
    assert_released(stage, dist)
    assert stage.releases()[0]["id"] == draft["id"]
    previous = stage.record().previous
    assert previous is not None
    assert previous.tag == OLDER
    assert stage.api("GET", "/releases/latest")["tag_name"] == TAG
    assert stage.roll_out().code == 0
    assert_proposed(stage)


def test_where_github_tells_no_digests_a_release_is_made_and_resumed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.server.quirks, "digests", False)
    dist = stage.build()
    stage.server.faults.arm(Fault(effect=Effect.BAD_GATEWAY, method="PATCH", path="/releases/", times=100))
    assert stage.publish().code == RemoteError.exit_code
    stage.server.faults.clear()
    run = stage.publish()
    assert run.code == 0, run.said
    assert not [write for write in run.writes if write.startswith(("POST", "DELETE"))]
    monkeypatch.undo()
    assert_released(stage, dist)


def test_where_github_tells_no_digests_what_is_published_is_compared_by_its_bytes(stage: Stage) -> None:
    dist = stage.build()
    assert stage.publish().code == 0
    stage.forget_digests()
    again = stage.publish()
    assert (again.code, again.writes) == (0, []), again.said
    assert "GitHub tells no digest of" in again.said
    (image,) = (name for name in published_files(dist) if name.endswith(".qcow2"))
    stage.replace_asset(image, b"x" * (dist / image).stat().st_size)
    stage.forget_digests()
    run = stage.publish()
    assert run.code == RefusedError.exit_code, run.said
    assert f"different or missing: {image}" in run.said


def test_a_second_run_writes_nothing(stage: Stage) -> None:
    dist = stage.build()
    assert stage.publish().code == 0
    before = stage.state()
    again = stage.publish()
    assert again.code == 0, again.said
    assert again.writes == []
    assert "already" in again.said
    assert stage.state() == before
    assert_released(stage, dist)


def test_the_notes_tell_what_changed_since_the_release_before(stage: Stage) -> None:
    release_older(stage)
    stage.build()
    assert stage.publish().code == 0
    (release,) = stage.releases()
    added, removed, upgraded = "`git`", "`nano`", "| `curl` | `7.88.1-9` | `7.88.1-10` |"
    for words in (OLDER, added, removed, upgraded):
        assert words in release["body"]
    record = stage.record()
    assert record.previous is not None
    assert record.previous.tag == OLDER
    assert record.changes is not None
    assert [package.name for package in record.changes.added] == ["git"]


def test_a_release_before_that_was_made_by_hand_is_no_obstacle(stage: Stage) -> None:
    stage.make_release(OLDER, {"notes.txt": b"made by hand"})
    dist = stage.build()
    run = stage.publish()
    assert run.code == 0, run.said
    assert f"{OLDER} cannot be compared with" in run.said
    assert_released(stage, dist)
    assert stage.record().previous is None


def test_only_the_newest_version_becomes_the_latest_and_none_is_compared_with_a_later_one(stage: Stage) -> None:
    def latest() -> str:
        tag: str = stage.api("GET", "/releases/latest")["tag_name"]
        return tag

    steps = ((TAG, TAG, None), (OLDER, TAG, None), (f"{TAG}.1", f"{TAG}.1", TAG), (NEWER, NEWER, f"{TAG}.1"))
    for tag, expected, before in steps:
        run = stage.publish(dist=stage.build(tag, folder=stage.folder / tag))
        assert run.code == 0, run.said
        assert latest() == expected
        previous = stage.record(tag).previous
        assert (previous and previous.tag) == before


def test_a_tag_that_is_there_is_used(stage: Stage) -> None:
    dist = stage.build()
    stage.make_tag(TAG, stage.head(), annotated=True)
    stage.server.commit(stage.repository, {"more.txt": "More\n"})
    run = stage.publish()
    assert run.code == 0, run.said
    assert_released(stage, dist)


@pytest.mark.parametrize("annotated", [False, True], ids=["lightweight", "annotated"])
def test_a_tag_on_another_commit_is_refused(stage: Stage, *, annotated: bool) -> None:
    stage.build()
    elsewhere = stage.server.commit(stage.repository, {"more.txt": "More\n"})
    stage.make_tag(TAG, elsewhere, annotated=annotated)
    run = stage.publish()
    assert run.code == RefusedError.exit_code
    assert f"the tag {TAG} is on commit {elsewhere}" in run.said
    assert run.writes == []


def test_a_dry_run_shows_everything_and_does_nothing(stage: Stage) -> None:
    release_older(stage)
    dist = stage.build()
    before = stage.state()
    run = stage.publish("--dry-run")
    assert run.code == 0, run.said
    assert run.writes == []
    assert stage.state() == before
    for name, digest in published_files(dist).items():
        assert f"would upload {name}" in run.said
        assert digest in run.said
    for words in ("would create the draft", "would publish", "as the latest release", OLDER, "`nano`", "sha256sum"):
        assert words in run.said
    assert {path.name for path in dist.iterdir() if path.is_dir()} == set()


def test_a_dry_run_needs_no_token_and_says_what_it_could_not_look_at(stage: Stage) -> None:
    release_older(stage)
    stage.build()
    with_token = stage.publish("--dry-run")
    run = stage.with_environ(GITHUB_TOKEN="").publish("--dry-run")
    assert run.code == 0, run.said
    assert "Without a token nobody can tell whether there is a draft already" in run.said
    assert not [exchange for exchange in run.exchanges if exchange.authorized]
    shown = "The release notes:"
    more = f"What was merged since {OLDER} could not be asked for.\n\n"
    assert more in run.said
    # What follows it has a digest of the text.
    end = "<!-- fountainkit-toolsmith-image release of"
    told, known = (one.said.partition(shown)[2].partition(end)[0] for one in (run, with_token))
    assert told.replace(more, "") == known != ""
    assert OLDER in run.said


def test_a_dry_run_without_a_token_shows_the_texts_of_a_repository_that_it_may_not_see(
    new_stage: Callable[..., Stage],
) -> None:
    stage = new_stage(private=True)
    dist = stage.build()
    run = stage.with_environ(GITHUB_TOKEN="").publish("--dry-run")
    assert run.code == 0, run.said
    assert "Neither the tag nor earlier releases could be looked at: there is no repository" in run.said
    for name in published_files(dist):
        assert f"would upload {name}" in run.said


def test_a_dry_run_over_a_draft_tells_only_what_is_missing(stage: Stage) -> None:
    dist = stage.build()
    image, checksum = sorted(name for name in published_files(dist) if ".qcow2" in name)
    draft = stage.make_draft()
    stage.upload(draft, image, (dist / image).read_bytes())
    stage.server.plant_starter(stage.repository, draft["id"], checksum)
    run = stage.publish("--dry-run")
    assert run.code == 0, run.said
    assert "draft, not all assets right" in run.said
    assert f"would upload {image} " not in run.said
    assert f"would remove {checksum} " in run.said
    assert f"would upload {checksum} " in run.said
    assert run.writes == []


def test_a_workflows_own_token_can_release(stage: Stage) -> None:
    dist = stage.build()
    workflow = stage.with_environ(
        GITHUB_SHA=stage.head(),
        GITHUB_REF_TYPE="tag",
        GITHUB_REF_NAME=TAG,
        GITHUB_RUN_ID="42",
    )
    stage.make_tag(TAG, stage.head())
    assert workflow.publish().code == 0
    assert_released(stage, dist)
    assert stage.record().run == f"{stage.server.url}/{stage.repository}/actions/runs/42"


def outputs_of(stage: Stage, run: Callable[[Stage], Run]) -> dict[str, str]:
    """What a step tells the later ones of its workflow."""
    path = stage.folder / "outputs"
    path.write_text("")
    ran = run(stage.with_environ(GITHUB_OUTPUT=str(path)))
    assert ran.code == 0, ran.said
    return dict(re.findall(r"^(.+)<<(?:.+)\n(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_later_steps_of_a_workflow_are_told_what_was_published(stage: Stage) -> None:
    stage.build()
    told = outputs_of(stage, Stage.publish)
    record = sha256(stage.asset(artifacts.RELEASE))
    assert told == {"tag": TAG, "url": stage.releases()[0]["html_url"], "record-sha256": record}
    assert outputs_of(stage, Stage.publish) == told


# What is attested before it is published


def test_what_was_prepared_with_a_token_that_only_reads_is_published_to_the_byte(stage: Stage) -> None:
    release_older(stage)
    dist = stage.build()
    run = stage.with_environ(GITHUB_RUN_ID="42")
    reader = run.with_environ(GITHUB_TOKEN=stage.server.tokens.reader.secret)
    told = outputs_of(reader, Stage.prepare)
    prepared = {name: (dist / name).read_bytes() for name in (artifacts.RELEASE, ENSURE_VM_NAME)}
    assert told == {"record-sha256": sha256(prepared[artifacts.RELEASE]), "tool-sha256": sha256(ENSURE_VM)}
    published = run.publish("--record-sha256", told["record-sha256"])
    assert published.code == 0, published.said
    assert {name: stage.asset(name) for name in prepared} == prepared
    record = stage.record()
    assert record.image.attestation is not None
    assert record.previous is not None


def test_a_record_that_is_not_the_attested_one_is_not_published(stage: Stage) -> None:
    stage.build()
    attested = outputs_of(stage, Stage.prepare)["record-sha256"]
    release_older(stage)
    before = stage.state()
    run = stage.publish("--record-sha256", attested)
    assert run.code == VerificationError.exit_code, run.said
    assert f"the one that was attested has {attested}" in run.said
    assert "Re-run all jobs" in run.said
    assert (run.writes, stage.state()) == ([], before)
    assert stage.publish("--record-sha256", "").code == VerificationError.exit_code


def test_a_repository_where_releases_are_immutable_gets_whole_ones(stage: Stage) -> None:
    stage.server.set_immutable_releases(stage.repository, enabled=True)
    dist = stage.build()
    assert stage.publish().code == 0
    assert_released(stage, dist)
    assert stage.releases()[0]["immutable"] is True
    again = stage.publish()
    assert (again.code, again.writes) == (0, [])


def test_two_images_of_one_commit_are_one_release(stage: Stage) -> None:
    dist = stage.build()
    stage.build(distribution="ubuntu-2204", definition="jammy", image=b"QFI\xfb another image")
    run = stage.publish()
    assert run.code == 0, run.said
    (release,) = stage.releases()
    assert {asset["name"] for asset in release["assets"]} == {*published_files(dist), *BESIDE}
    record = stage.record()
    assert record.image.definition == "jammy"
    assert [image.definition for image in record.others] == ["bookworm"]
    assert stage.publish().writes == []


def test_the_calls_of_a_release_and_its_roll_out_stay_few(stage: Stage, figure: Callable[[str], None]) -> None:
    release_older(stage)
    stage.build()
    publish, roll_out = stage.publish(), stage.roll_out()
    assert (publish.code, roll_out.code) == (0, 0), roll_out.said
    calls = [one for one in (*publish.exchanges, *roll_out.exchanges) if one.path.startswith(API)]
    figure(f"{len(calls)} API calls for a release and its roll-out, on top of an earlier release")
    assert len(calls) <= MOST_CALLS
