"""The notes say why: which pull requests came with a release, as far as GitHub tells."""

from typing import Any, cast

import pytest
from rich.console import Console

from ci.fetch.source import AbsentError
from ci.github.client import GitHub
from ci.github.context import Context
from ci.host.errors import AccessError, RejectedError, RemoteError
from ci.host.progress import Reporter
from ci.release import notes
from ci.release.notes import MOST_PULLS, MergedPull
from ci.release.proposal import merged_pulls
from tests.support.answers import release
from tests.support.release_records import SITE
from tests.unit.release.test_notes import HOSTILE, PREVIOUS, TAG, make_record, plain, tokens

BODY = f"""<!-- Release notes generated using configuration in .github/release.yml at main -->

## What's Changed
### Changes
* Keep curl by @someone in {SITE}/pull/12
* Say "by @nobody in {SITE}/pull/1" by @app[bot] in {SITE}/pull/13
### Dependencies
* Bump the actions group by @dependabot[bot] in {SITE}/pull/14

## New Contributors
* @someone made their first contribution in {SITE}/pull/12

**Full Changelog**: {SITE}/compare/v2026.11.01...{TAG}
"""


class Answering:
    """A GitHub that answers one question, or refuses it."""

    def __init__(self, answer: str | Exception, *, anybody: bool = False) -> None:
        self.answer, self.asked = answer, list[tuple[str, str, str | None]]()
        self.context = Context(
            api_url="a", server_url="s", repository="o/r", commit=None, token=None if anybody else "t"
        )
        self.reporter = Reporter(Console(quiet=True, record=True, width=200), in_actions=False)

    def generated_notes(self, tag: str, previous: str, *, target: str | None) -> str:
        self.asked.append((tag, previous, target))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ask(github: Answering, releases: tuple[Any, ...] = (), *, tagged: bool = True) -> tuple[MergedPull, ...] | None:
    return merged_pulls(cast("GitHub", github), releases, make_record(), tagged=tagged)


def test_titles_and_numbers_are_read_and_nothing_else_is() -> None:
    github = Answering(BODY)
    assert ask(github) == (
        MergedPull("Keep curl", 12),
        MergedPull(f'Say "by @nobody in {SITE}/pull/1"', 13),
        MergedPull("Bump the actions group", 14),
    )
    assert github.asked == [(TAG, PREVIOUS.tag, None)]
    assert ask(Answering(BODY.replace("\n", "\r\n"))) == ask(github)


def test_a_commit_is_named_only_where_there_is_no_tag_yet() -> None:
    github = Answering("")
    assert ask(github, tagged=False) == ()
    assert github.asked == [(TAG, PREVIOUS.tag, make_record().commit)]


@pytest.mark.parametrize(
    "failure", [AbsentError("x"), AccessError("x"), RejectedError("x", codes=[]), RemoteError("x")]
)
def test_where_it_cannot_be_asked_the_release_goes_on(failure: Exception) -> None:
    assert ask(Answering(failure)) is None


def test_nobody_is_asked_without_a_token_or_when_the_release_is_public() -> None:
    for github, releases in ((Answering("", anybody=True), ()), (Answering(""), (release(tag_name=TAG, draft=False),))):
        ask(github, releases)
        assert github.asked == []
    assert ask(Answering(""), (release(tag_name=TAG, draft=True),)) == ()


def test_consumers_come_first_and_then_why() -> None:
    text = notes.release_notes(make_record(), [MergedPull("Keep curl", 12)])
    order = (
        "## For consumers", "## What changed", "`Keep curl` ([#12]", "all commits", "Base image:", "## Verify",
        "## Files",
    )  # fmt: skip
    assert [text.index(words) for words in order] == sorted(text.index(words) for words in order)
    assert f"[#12]({SITE}/pull/12)" in text
    assert f"({SITE}/compare/{PREVIOUS.tag}...{TAG})" in text


def test_many_are_cut_and_counted() -> None:
    text = notes.release_notes(make_record(), [MergedPull("One", number) for number in range(MOST_PULLS + 5)])
    assert text.count("`One`") == MOST_PULLS
    assert "and 5 more" in text


def test_what_could_not_be_asked_is_said_and_a_first_release_says_nothing() -> None:
    words = "could not be asked for"
    assert words in notes.release_notes(make_record(), None)
    assert words not in notes.release_notes(make_record(), ())
    assert words not in notes.release_notes(make_record(previous=None), None)


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_of_a_stranger_is_shown_and_does_nothing(title: str) -> None:
    text = notes.release_notes(make_record(), [MergedPull(title, 12)])
    usual = notes.release_notes(make_record(), [MergedPull("Keep curl", 12)])
    assert [token.type for token in tokens(text)] == [token.type for token in tokens(usual)]
    assert plain(text) == plain(usual)
