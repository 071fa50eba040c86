import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.records.version import Version
from ci.release.changelog import NOTHING_YET, read_entries, says_nothing_yet, with_entry

HEADER = "# Releases\n\nNewest first.\n\n"
TAGS = ["v2026.01.31", "v2026.02.01", "v2026.02.01.1", "v2026.02.01.2", "v2026.02.01.10", "v2026.11.23"]


def entry(tag: str) -> str:
    return f"## [{tag}](https://example.org/{tag})\n\n- Changes of {tag}.\n"


def tags(text: str) -> list[str]:
    """What a reader sees as headings of releases."""
    tokens = MarkdownIt("commonmark").parse(text)
    shown = [
        "".join(child.content for child in inline.children or [])
        for token, inline in pairwise(tokens)
        if token.type == "heading_open"
    ]
    return [match[0] for title in shown if (match := re.match(r"v[\d.]+", title))]


def is_subsequence(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(item in rest for item in part)


prose = st.lists(
    st.sampled_from(
        [
            "Text.",
            "",
            "- a list",
            "  - with v2026.02.01 in it",
            "> ## v2026.02.01",
            "    ## v2026.02.01 in code",
            "```\n## v2026.02.01\n```",
            "<!-- ## v2026.02.01\n\n## v2026.11.23\n-->",
            "### Known issues of v2026.02.01",
            "### v2026.02.01 had issues",
            "---",
            "<div>\nHTML\n</div>",
            "[v2026.02.01]: https://example.org",
            "## v2026.02.30 is no day",
            "## v2026.02.01-rc1",
            "  indented\x0bodd\u2028spaces\x85 ",
        ]
    ),
    max_size=4,
).map("\n".join)


@st.composite
def changelogs(draw: st.DrawFn) -> str:
    """A changelog in order, with anything between its entries, and any line end."""
    chosen = sorted(draw(st.sets(st.sampled_from(TAGS), max_size=4)), key=Version.parse, reverse=True)
    parts = [HEADER, draw(prose)]
    for tag in chosen:
        parts += [
            draw(st.sampled_from([entry(tag), f"## {tag}\n", f"{tag} by hand\n---\n", f"## `{tag}` ##\n"])),
            draw(prose),
        ]
    text = "\n\n".join(parts) + draw(st.sampled_from(["", "\n", "\n\n\n"]))
    return draw(st.sampled_from(["", "\ufeff"])) + text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


@given(changelogs(), st.sampled_from(TAGS))
def test_nobodys_text_is_lost_or_moved(text: str, tag: str) -> None:
    result = with_entry(text, tag, entry(tag))
    split = re.compile(r"(?<=\n)")
    assert is_subsequence(
        [line.rstrip("\r\n") for line in split.split(text)], [line.rstrip("\r\n") for line in split.split(result)]
    )
    if result != text:
        added = entry(tag).replace("\n", "\r\n" if "\r\n" in text else "\n")
        before, found, after = result.partition(added)
        assert found
        assert text.startswith(before.rstrip("\r\n"))
        assert text.endswith(after.lstrip("\r\n"))


@given(changelogs(), st.sampled_from(TAGS))
def test_a_second_time_changes_nothing(text: str, tag: str) -> None:
    once = with_entry(text, tag, entry(tag))
    assert with_entry(once, tag, entry(tag).replace("Changes", "Other changes")) == once


@given(st.permutations(TAGS), st.booleans())
def test_entries_end_up_newest_first_in_whatever_order_they_come(order: list[str], sentence: bool) -> None:  # noqa: FBT001
    text = f"{HEADER}{NOTHING_YET}\n" if sentence else HEADER
    for tag in order:
        text = with_entry(text, tag, entry(tag))
    assert text == HEADER + "\n".join(entry(tag) for tag in reversed(TAGS))


def test_the_sentence_gives_way_to_the_first_entry_wherever_it_stands() -> None:
    text = f"# Releases\n\n{NOTHING_YET}\n\n## How to read this\n\nFrom the top.\n"
    assert with_entry(text, TAGS[0], entry(TAGS[0])) == (
        f"# Releases\n\n{entry(TAGS[0])}\n## How to read this\n\nFrom the top.\n"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("before", ["", "# Releases\n\n"])
def test_a_byte_order_mark_and_the_line_ends_stay_and_hide_nothing(before: str, mark: str, end: str) -> None:
    def written(text: str) -> str:
        return mark + text.replace("\n", end)

    text = written(f"{before}{NOTHING_YET}\n\nMore.\n")
    assert says_nothing_yet(text)
    result = with_entry(text, TAGS[1], entry(TAGS[1]))
    if end != "\r":  # which nobody's editor writes today; ours are then line feeds
        assert result == written(f"{before}{entry(TAGS[1])}\nMore.\n")
    assert (NOTHING_YET in result, result.startswith(mark), result.count("\ufeff")) == (False, True, len(mark))
    assert [str(version) for version, _ in read_entries(result)] == [TAGS[1]]
    assert with_entry(result, TAGS[1], entry(TAGS[1])) == result


def test_an_entry_right_behind_a_byte_order_mark_is_one() -> None:
    text = "\ufeff" + entry(TAGS[1])
    assert with_entry(text, TAGS[1], entry(TAGS[1])) == text
    newer = with_entry(text, TAGS[0], entry(TAGS[0]))
    order = [str(version) for version, _ in read_entries(newer)]
    assert order == sorted(order, key=Version.parse, reverse=True)
    assert len(order) == 2


@pytest.mark.parametrize("text", [f"Then: {NOTHING_YET}\n", f"> {NOTHING_YET}\n", f"```\n{NOTHING_YET}\n```\n"])
def test_the_sentence_stays_where_it_is_part_of_something_else(text: str) -> None:
    assert with_entry(text, TAGS[0], entry(TAGS[0])) == f"{text}\n{entry(TAGS[0])}"


@pytest.mark.parametrize(
    "heading",
    [
        "## v2026.02.01",
        "# v2026.02.01: by hand",
        "###### [v2026.02.01] ######",
        "v2026.02.01\n===========",
        "## **v2026.02.01** (2026-02-01)",
        "## `v2026.02.01`",
        "  ## v2026.02.01.",
    ],
)
def test_a_heading_that_somebody_wrote_for_the_tag_stays_as_it_is(heading: str) -> None:
    text = f"{HEADER}{heading}\n\nMine.\n"
    assert with_entry(text, "v2026.02.01", entry("v2026.02.01")) == text


def test_what_is_no_heading_for_the_tag_does_not_count_as_one(subtests: pytest.Subtests) -> None:
    for line in [
        "    ## v2026.02.01",
        "> ## v2026.02.01",
        "v2026.02.01",
        "## Since v2026.02.01",
        "## v2026.02.01.1",
        "## v2026.02.01-rc1",
        "## v2026.02.01.x",
        "## v2026.02.011",
        "##v2026.02.01",
    ]:
        with subtests.test(line=line):
            text = f"{HEADER}{line}\n"
            assert entry("v2026.02.01") in with_entry(text, "v2026.02.01", entry("v2026.02.01"))


def test_headings_further_down_in_an_entry_do_not_attract_older_ones() -> None:
    newest = f"{entry('v2026.11.23')}\n### v2026.01.31 and before\n\nText.\n"
    result = with_entry(HEADER + newest, "v2026.02.01", entry("v2026.02.01"))
    assert result == f"{HEADER}{newest}\n{entry('v2026.02.01')}"


def test_the_oldest_entry_stays_above_the_section_that_follows_the_entries() -> None:
    text = f"{HEADER}{entry('v2026.11.23')}\n### Details\n\nText.\n\n## Archive\n\nText.\n"
    result = with_entry(text, "v2026.02.01", entry("v2026.02.01"))
    assert result == text.replace("## Archive", f"{entry('v2026.02.01')}\n## Archive")


def test_entries_out_of_order_stay_so() -> None:
    text = HEADER + "\n".join(map(entry, ["v2026.01.31", "v2026.11.23"]))
    assert tags(with_entry(text, "v2026.02.01", entry("v2026.02.01"))) == ["v2026.02.01", "v2026.01.31", "v2026.11.23"]


@pytest.mark.parametrize("opened", ["```\ncode", "<!-- comment", "<pre>\ntext", "~~~"])
def test_an_open_block_that_would_hide_the_entry_is_an_error(opened: str) -> None:
    with pytest.raises(InputError, match=r"^docs/releases\.md has no place for the entry of v2026\.02\.01"):
        with_entry(f"{HEADER}{opened}\n", "v2026.02.01", entry("v2026.02.01"))


def test_an_open_block_behind_older_entries_does_no_harm() -> None:
    text = f"{HEADER}{entry('v2026.01.31')}\n```\ncode"
    assert tags(with_entry(text, "v2026.02.01", entry("v2026.02.01"))) == ["v2026.02.01", "v2026.01.31"]


def test_an_empty_changelog_gets_its_entry() -> None:
    assert with_entry("", TAGS[0], entry(TAGS[0])) == entry(TAGS[0])


def test_a_tag_that_is_none_is_an_error() -> None:
    with pytest.raises(InputError):
        with_entry(HEADER, "v2026.02.30", entry("v2026.02.30"))


def test_an_entry_must_begin_with_its_own_heading() -> None:
    with pytest.raises(ValueError, match=r"v2026\.02\.01"):
        with_entry(HEADER, "v2026.02.01", entry("v2026.02.01.1"))


def test_the_real_changelog_takes_an_entry() -> None:
    text = (ROOT / "docs" / "releases.md").read_text(encoding="utf-8")
    result = with_entry(text, "v2999.01.01", entry("v2999.01.01"))
    assert tags(result) == ["v2999.01.01", *tags(text)]
    assert NOTHING_YET not in result
