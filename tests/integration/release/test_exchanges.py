"""Every request of a release and every answer to it is one that GitHub's own description allows."""

from collections.abc import Callable, Iterable

import pytest

from ci.rehearsal.exchanges import Exchange
from ci.release.targets import CONSUMER_MANIFEST
from tests.support.openapi.openapi import API, find_call, findings
from tests.support.releasing import TAG
from tests.support.stage import FILES, MANIFEST, OLDER, Stage, published_files, release_older

pytestmark = pytest.mark.integration


def assert_valid(exchanges: Iterable[Exchange]) -> None:
    calls = [exchange for exchange in exchanges if API.match(exchange.path)]
    assert calls
    found = [message for exchange in calls for message in findings(exchange)]
    assert not found, "\n".join(found)


def test_a_whole_release_and_roll_out(new_stage: Callable[..., Stage], figure: Callable[[str], None]) -> None:
    """On top of an earlier release, which was rolled out and merged, with an annotated tag, and to FountainKit too."""
    stage, consumer = new_stage(), new_stage({CONSUMER_MANIFEST: FILES[MANIFEST]})
    both = stage.with_consumer(consumer)
    release_older(stage)
    assert both.roll_out(tag=OLDER).code == 0
    stage.server.merge_pull(stage.repository, 1)
    consumer.server.merge_pull(consumer.repository, 1)
    stage.build(commit=stage.head())
    stage.make_tag(TAG, stage.head(), annotated=True)
    runs = [stage.publish(), both.roll_out(), stage.publish(), both.roll_out()]
    assert [run.code for run in runs] == [0, 0, 0, 0]
    exchanges = [exchange for run in runs for exchange in run.exchanges]
    assert_valid(exchanges)
    merged = f"- `Roll out {OLDER}` ([#1]({stage.server.url}/{stage.repository}/pull/1))"
    assert merged in stage.releases(TAG)[0]["body"]
    calls = {call.template for exchange in exchanges if API.match(exchange.path) and (call := find_call(exchange))}
    figure(f"{len(exchanges)} exchanges of {len(calls)} kinds of calls are valid by GitHub's OpenAPI description")


def test_a_release_that_is_resumed(stage: Stage) -> None:
    dist = stage.build()
    draft = stage.make_draft()
    first, second, *_ = published_files(dist)
    stage.upload(draft, first, b"of an earlier build")
    stage.server.plant_starter(stage.repository, draft["id"], second)
    run = stage.publish()
    assert run.code == 0, run.said
    assert [exchange.status for exchange in run.exchanges if exchange.method == "DELETE"] == [204, 204]
    assert_valid(run.exchanges)


def test_a_roll_out_that_is_rebased_edited_and_reopened(stage: Stage) -> None:
    stage.build()
    assert (stage.publish().code, stage.roll_out().code) == (0, 0)
    stage.api("PATCH", "/pulls/1", {"body": "Something else"})
    stage.server.commit(stage.repository, {"new.txt": "New\n"})
    rebased = stage.roll_out()
    stage.server.close_pull(stage.repository, 1)
    reopened = stage.roll_out("--reopen")
    stage.api("DELETE", f"/git/refs/heads/rollout/{TAG}")
    opened = stage.roll_out("--reopen")
    assert [run.code for run in (rebased, reopened, opened)] == [0, 0, 0]
    assert_valid([*rebased.exchanges, *reopened.exchanges, *opened.exchanges])


def test_what_other_tokens_are_answered(stage: Stage) -> None:
    stage.build()
    tokens = stage.server.tokens
    for token in tokens:
        assert_valid(stage.with_environ(GITHUB_TOKEN=token.secret).publish().exchanges)


def test_every_request_tells_who_asks_and_shows_no_token_in_an_address_or_a_body(stage: Stage) -> None:
    stage.build()
    exchanges = [*stage.publish().exchanges, *stage.roll_out().exchanges]
    for exchange in exchanges:
        headers = {name.lower(): value for name, value in exchange.request_headers.items()}
        assert headers["user-agent"] == "fountainkit-toolsmith-image"
        assert stage.environ["GITHUB_TOKEN"] not in f"{exchange.path} {exchange.query} {exchange.request_body}"
