"""A roll-out that nothing disturbs: the pull requests it opens, here and in FountainKit's repository."""

import json
from collections.abc import Callable

import pytest

from ci.records.manifest_rules import read_manifest
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.releasing import TAG
from tests.support.stage import (
    CHANGELOG,
    FILES,
    MANIFEST,
    NEWER,
    OLDER,
    Stage,
    assert_changes,
    assert_proposed,
    release_older,
)

pytestmark = pytest.mark.integration

CONSUMER_TEXT = """\
{
    "tools": { "jq": "1.7", "caf\\u00e9": "x" },
    "image": { "name": "an-image", "tarball": "a.tar", "sha256": "%s", "note": "keep me",
               "qcow2": "", "qcow2_sha256": "" },
    "operations": [ "format", "lint" ],
    "owner": "the infrastructure team"
}""" % ("a" * 64)


@pytest.fixture
def consumer(new_stage: Callable[..., Stage]) -> Stage:
    return new_stage({CONSUMER_MANIFEST: CONSUMER_TEXT, "Sources/main.swift": "print()\n"})


def test_one_pull_request_changes_four_files_and_says_what_to_check(published: Stage) -> None:
    run = published.roll_out()
    assert run.code == 0, run.said
    pull, qcow2 = assert_proposed(published), published.record().image.qcow2
    assert pull["html_url"] in run.said
    assert (pull["changed_files"], pull["commits"]) == (4, 1)
    assert pull["title"] == f"Roll out {TAG}"
    for words in (qcow2.sha256, qcow2.url, "sha256sum --check", ".validation.md", published.releases()[0]["html_url"]):
        assert words in pull["body"]
    text = published.read(MANIFEST, f"rollout/{TAG}")
    assert text is not None
    image = read_manifest(text.encode(), MANIFEST)["image"]
    assert image | {"qcow2": qcow2.url, "qcow2_sha256": qcow2.sha256, "size": qcow2.size, "version": TAG} == image
    assert image["name"] == published.record().image.name
    before, after = json.loads(FILES[MANIFEST]), json.loads(text)
    assert after | {"image": None} == before | {"image": None}


def test_the_changelog_gets_an_entry_and_loses_nothing(new_stage: Callable[..., Stage]) -> None:
    written = f"# Releases\n\nWords of ours.\n\n## {OLDER}\n\nMore words of ours.\n"
    stage = new_stage(FILES | {CHANGELOG: written})
    stage.build()
    assert stage.publish().code == 0
    assert stage.roll_out().code == 0
    text = stage.read(CHANGELOG, f"rollout/{TAG}") or ""
    assert [line for line in written.splitlines() if line not in text.splitlines()] == []
    assert text.index("Words of ours") < text.index(TAG) < text.index(f"## {OLDER}")


def test_a_release_on_top_of_another_tells_the_difference(stage: Stage) -> None:
    release_older(stage)
    assert stage.roll_out(tag=OLDER).code == 0
    stage.server.merge_pull(stage.repository, 1)
    stage.build()
    assert stage.publish().code == 0
    assert stage.roll_out().code == 0
    # The merged one is still there, with its branch.
    stage.api("DELETE", f"/git/refs/heads/rollout/{OLDER}")
    pull = assert_proposed(stage, pulls=2)
    for words in ("`git`", "`nano`", "| `curl` | `7.88.1-9` | `7.88.1-10` |", OLDER):
        assert words in pull["body"]
    changelog = stage.read(CHANGELOG, f"rollout/{TAG}") or ""
    assert changelog.index(TAG) < changelog.index(OLDER)
    page = stage.read(f"releases/{TAG}.md", f"rollout/{TAG}") or ""
    assert "`nano`" in page


def test_neither_a_second_run_nor_one_after_the_merge_writes_anything(published: Stage) -> None:
    assert published.roll_out().code == 0
    before = published.state()
    again = published.roll_out()
    assert (again.code, again.writes) == (0, []), again.said
    assert published.state() == before
    published.server.merge_pull(published.repository, 1)
    before = published.state()
    again = published.roll_out()
    assert (again.code, again.writes) == (0, []), again.said
    assert "already" in again.said
    assert published.state() == before


def test_a_dry_run_shows_texts_and_differences_and_does_nothing(published: Stage) -> None:
    before = published.state()
    run = published.roll_out("--dry-run")
    assert run.code == 0, run.said
    assert run.writes == []
    assert published.state() == before
    sha256 = published.record().image.qcow2.sha256
    for words in (
        f"a/{MANIFEST}", f'+    "qcow2_sha256": "{sha256}"', f"b/{CHANGELOG}", f"b/releases/{TAG}.md",
        f"b/releases/{TAG}.json", f"rollout/{TAG}", "would open a pull request", "sha256sum --check",
    ):  # fmt: skip
        assert words in run.said


def test_a_dry_run_tells_that_it_would_update(published: Stage) -> None:
    assert published.roll_out().code == 0
    published.server.commit(published.repository, {"README.md": "More\n"})
    run = published.roll_out("--dry-run")
    assert "would update" in run.said
    assert published.pulls()[0]["html_url"] in run.said
    assert (run.code, run.writes) == (0, [])


def test_in_fountainkit_only_the_images_own_fields_change(published: Stage, consumer: Stage) -> None:
    run = published.with_consumer(consumer).roll_out()
    assert run.code == 0, run.said
    (pull,) = consumer.pulls()
    assert pull["title"] == f"Use Toolsmith image {TAG}"
    branch = pull["head"]["ref"]
    assert pull["html_url"] in run.said
    assert_changes(consumer, branch, {CONSUMER_MANIFEST})
    qcow2, name = published.record().image.qcow2, published.record().image.name
    expected = (
        CONSUMER_TEXT.replace('"qcow2": ""', f'"qcow2": "{qcow2.url}"')
        .replace('"qcow2_sha256": ""', f'"qcow2_sha256": "{qcow2.sha256}"')
        .replace('"name": "an-image"', f'"name": "{name}"')
    )
    assert consumer.read(CONSUMER_MANIFEST, branch) == expected
    for words in (qcow2.sha256, qcow2.url, CONSUMER_MANIFEST, published.releases()[0]["html_url"]):
        assert words in pull["body"]
    assert_proposed(published)


def test_in_fountainkit_too_a_second_run_and_one_after_the_merge_write_nothing(
    published: Stage, consumer: Stage
) -> None:
    both = published.with_consumer(consumer)
    assert both.roll_out().code == 0
    assert both.roll_out().writes == []
    published.server.merge_pull(published.repository, 1)
    consumer.server.merge_pull(consumer.repository, 1)
    run = both.roll_out()
    assert (run.code, run.writes) == (0, [])


def test_fountainkit_gets_its_pull_request_after_ours_was_merged_too(published: Stage, consumer: Stage) -> None:
    assert published.roll_out().code == 0
    published.server.merge_pull(published.repository, 1)
    run = published.with_consumer(consumer).roll_out()
    assert run.code == 0, run.said
    assert len(consumer.pulls()) == 1


def test_without_fountainkits_token_its_pull_request_is_left_out_and_that_is_said(
    published: Stage, consumer: Stage
) -> None:
    run = published.with_environ(FOUNTAINKIT_REPOSITORY=consumer.repository).roll_out()
    assert run.code == 0
    assert "FOUNTAINKIT_TOKEN is not" in run.said
    assert consumer.pulls() == []
    assert_proposed(published)


def test_a_dry_run_leaves_fountainkit_alone_too(published: Stage, consumer: Stage) -> None:
    before = consumer.state()
    run = published.with_consumer(consumer).roll_out("--dry-run")
    assert (run.code, run.writes) == (0, [])
    assert f"a/{CONSUMER_MANIFEST}" in run.said
    assert consumer.state() == before


def test_a_workflows_own_token_can_roll_out(published: Stage) -> None:
    workflow = published.with_environ(GITHUB_REF_TYPE="tag", GITHUB_REF_NAME=TAG)
    run = workflow.propose("--record-sha256", published.told[TAG])
    assert run.code == 0, run.said
    assert_proposed(published)


def test_later_steps_of_a_workflow_are_told_the_pull_requests(published: Stage, consumer: Stage) -> None:
    outputs = published.folder / "outputs"
    assert published.with_consumer(consumer).with_environ(GITHUB_OUTPUT=str(outputs)).roll_out().code == 0
    told = outputs.read_text(encoding="utf-8").splitlines()
    assert {published.pulls()[0]["html_url"], consumer.pulls()[0]["html_url"]} <= set(told)


def test_a_newer_release_does_not_wait_for_an_older_roll_out(published: Stage) -> None:
    assert published.roll_out().code == 0
    newer = published.folder / "newer"
    assert published.publish(dist=published.build(NEWER, folder=newer)).code == 0
    assert published.roll_out(tag=NEWER).code == 0
    assert {pull["head"]["ref"] for pull in published.pulls()} == {f"rollout/{TAG}", f"rollout/{NEWER}"}


def test_an_asset_whose_digest_github_does_not_know_is_downloaded_to_compare(published: Stage) -> None:
    published.forget_digests()
    run = published.roll_out()
    assert run.code == 0, run.said
    image = published.record().image.qcow2.name
    assert f"GitHub tells no digest of {image}; downloading it to compare" in run.said
    assert_proposed(published)
