"""What propose_rollout does not take: the exit code, what to do next, and nothing changed on GitHub."""

import json
from collections.abc import Callable

import pytest

from ci.host.errors import AccessError, InputError, RefusedError, RemoteError, ToolsmithError, VerificationError
from ci.records import artifacts
from ci.rehearsal.faults import Effect, Fault
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.releasing import TAG
from tests.support.stage import CHANGELOG, FILES, MANIFEST, OLDER, Run, Stage, as_app, assert_proposed

pytestmark = pytest.mark.integration

GOOD = json.loads(FILES[MANIFEST])


@pytest.fixture
def published(stage: Stage) -> Stage:
    """Published by the job itself, to be rolled out by an app."""
    stage.build()
    assert stage.publish().code == 0
    return as_app(stage)


def assert_refused(
    stage: Stage, error: type[ToolsmithError], words: str, *flags: str, tag: str = TAG, asked: bool = True
) -> Run:
    """It ends with the error's exit code, the words, and a hint; nothing is written, or even `asked`."""
    before = stage.state()
    run = stage.roll_out(*flags, tag=tag)
    assert run.code == error.exit_code, run.said
    assert words in run.said
    assert "next:" in run.said
    assert "Traceback" not in run.said
    assert run.writes == []
    assert bool(run.exchanges) == asked
    assert stage.state() == before
    return run


def test_a_release_that_a_person_made_a_pre_release_unless_that_is_asked_for(published: Stage) -> None:
    (release,) = published.releases()
    published.api("PATCH", f"/releases/{release['id']}", {"prerelease": True})
    assert_refused(published, RefusedError, "marked as a pre-release")
    assert published.roll_out("--reopen").code == 0
    assert_proposed(published)


# What is asked for


def test_no_tag(stage: Stage) -> None:
    run = stage.propose()
    assert (run.code, run.exchanges) == (InputError.exit_code, ())
    assert "there is no tag to roll out" in run.said


@pytest.mark.parametrize("tag", ["v2026.02.30", "../v2026.11.23", ""])
def test_a_tag_that_is_no_version(stage: Stage, tag: str) -> None:
    assert_refused(stage, InputError, "is not a version", tag=tag, asked=False)


def test_an_address_where_no_token_may_be_sent(stage: Stage) -> None:
    run = stage.with_environ(GITHUB_API_URL="http://api.example.com").roll_out()
    assert (run.code, run.exchanges) == (InputError.exit_code, ())


def test_an_archived_repository(published: Stage) -> None:
    published.server.change(published.repository, archived=True)
    assert_refused(published, RefusedError, "is archived")


# The release


def test_a_release_that_is_not_there(stage: Stage) -> None:
    assert_refused(stage, RefusedError, f"{TAG} is not published")


def test_a_release_that_is_a_draft(stage: Stage) -> None:
    stage.build()
    stage.make_draft()
    assert_refused(stage, RefusedError, f"{TAG} is not published")


def test_a_release_that_was_made_by_hand(stage: Stage) -> None:
    stage.make_release(TAG, {"notes.txt": b"somebody's"})
    assert_refused(stage, VerificationError, f"{TAG} has no {artifacts.RELEASE}")


@pytest.mark.parametrize("data", [b"{}", b"\xff\xfe"])
def test_a_record_that_is_none(stage: Stage, data: bytes) -> None:
    stage.make_release(TAG, {artifacts.RELEASE: data})
    assert_refused(stage, VerificationError, "is not a release record")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"tag": OLDER}, "speaks of"), ({"repository": "somebody/else"}, "is not the release's page in somebody/else")],
)
def test_a_record_of_something_else(published: Stage, change: dict[str, str], words: str) -> None:
    data = json.loads(published.asset(artifacts.RELEASE)) | change
    published.replace_asset(artifacts.RELEASE, json.dumps(data).encode())
    assert_refused(published, VerificationError, words)


def test_an_asset_that_was_replaced(published: Stage) -> None:
    name = next(asset.name for asset in published.record().image.assets if asset.name.endswith(".validation.json"))
    size = len(published.asset(name))
    published.replace_asset(name, b"x" * size)
    assert_refused(published, VerificationError, f"{name} is not what was tested")


def test_an_asset_that_was_replaced_and_of_which_github_knows_no_digest(published: Stage) -> None:
    name = published.record().image.qcow2.name
    published.replace_asset(name, b"x" * len(published.asset(name)))
    published.forget_digests()
    assert_refused(published, VerificationError, f"{name} is not what was tested")


@pytest.mark.parametrize("data", [None, b"shorter"], ids=["deleted", "of another size"])
def test_an_asset_that_is_gone_or_of_another_size(published: Stage, data: bytes | None) -> None:
    name = published.record().image.qcow2.name
    published.replace_asset(name, data)
    assert_refused(published, VerificationError, f"{name} is missing from the release, or incomplete")


# The default branch


def test_a_manifest_that_is_none(published: Stage) -> None:
    texts = {
        "is not a manifest": "[" * 100_000,
        "comes twice": FILES[MANIFEST].replace('"sha256": ""', '"sha256": "", "sha256": ""'),
        "tarball": json.dumps(GOOD | {"image": GOOD["image"] | {"tarball": "../../etc/passwd"}}),
    }
    for words, text in texts.items():
        published.server.commit(published.repository, {MANIFEST: text})
        run = assert_refused(published, InputError, words)
        assert MANIFEST in run.said


@pytest.mark.parametrize("path", [MANIFEST, CHANGELOG])
def test_a_file_that_the_default_branch_must_have(published: Stage, path: str) -> None:
    published.server.commit(published.repository, {path: None})
    assert_refused(published, InputError, f"there is no {path} of {published.repository}")


def test_a_changelog_that_would_hide_the_entry(published: Stage) -> None:
    published.server.commit(published.repository, {CHANGELOG: "# Releases\n\n<!-- to be done\n"})
    assert_refused(published, InputError, "has no place for the entry")


def test_a_file_that_is_a_folder(published: Stage) -> None:
    published.server.commit(published.repository, {MANIFEST: None, f"{MANIFEST}/file": "x\n"})
    assert_refused(published, InputError, f"{MANIFEST} of {published.repository} is not a file that can be changed")


# GitHub's answers


def test_a_limit_that_lasts_longer_than_a_job_may_wait(published: Stage) -> None:
    published.server.faults.arm(Fault(effect=Effect.PRIMARY_LIMIT, seconds=3600))
    run = published.roll_out()
    assert run.code == RemoteError.exit_code, run.said
    assert "GitHub's rate limit is reached, for another 36" in run.said
    assert (run.slept, run.writes) == ((), [])


# FountainKit


@pytest.fixture
def consumer(new_stage: Callable[..., Stage]) -> Stage:
    return new_stage({CONSUMER_MANIFEST: FILES[MANIFEST]})


def assert_consumer_refused(
    published: Stage, consumer: Stage, error: type[ToolsmithError], words: str, token: str | None = None
) -> None:
    """Ours is rolled out all the same: it does not depend on the consumer's state."""
    before = consumer.state()
    run = published.with_consumer(consumer, token).roll_out()
    assert run.code == error.exit_code, run.said
    assert words in run.said
    assert "next:" in run.said
    assert consumer.state() == before
    assert_proposed(published)


def test_a_token_that_may_not_write_to_fountainkit(published: Stage, consumer: Stage) -> None:
    tokens = consumer.server.tokens
    assert_consumer_refused(published, consumer, AccessError, "it needs contents: write", tokens.reader.secret)
    assert_consumer_refused(published, consumer, AccessError, "does not accept the token", tokens.expired.secret)


def test_a_fountainkit_without_a_manifest(published: Stage, consumer: Stage) -> None:
    consumer.server.commit(consumer.repository, {CONSUMER_MANIFEST: None})
    before = consumer.state()
    run = published.with_consumer(consumer).roll_out()
    assert run.code == 0, run.said
    assert f"it has no {CONSUMER_MANIFEST}, so there is nothing to roll out to" in run.said
    assert consumer.state() == before
    assert_proposed(published)


def test_a_fountainkit_whose_manifest_is_none(published: Stage, consumer: Stage) -> None:
    consumer.server.commit(consumer.repository, {CONSUMER_MANIFEST: '{"image": {"name": "x"}}'})
    assert_consumer_refused(published, consumer, InputError, "is not a manifest")


def test_a_fountainkit_that_points_to_something_newer(published: Stage, consumer: Stage) -> None:
    url = "https://github.com/a/b/releases/download/v2027.01.01/image.qcow2"
    image = GOOD["image"] | {"name": "x", "qcow2": url, "qcow2_sha256": "0" * 64}
    text = json.dumps(GOOD | {"image": {key: value for key, value in image.items() if key not in {"version", "size"}}})
    consumer.server.commit(consumer.repository, {CONSUMER_MANIFEST: text})
    assert_consumer_refused(published, consumer, RefusedError, "points to v2027.01.01, which is newer")


def test_a_fountainkit_that_is_not_a_name(published: Stage, consumer: Stage) -> None:
    both = published.with_environ(
        FOUNTAINKIT_REPOSITORY="FountainKit", FOUNTAINKIT_TOKEN=consumer.server.tokens.app.secret
    )
    run = both.roll_out()
    assert run.code == InputError.exit_code, run.said
    assert "is not a repository" in run.said
    assert run.writes == []
