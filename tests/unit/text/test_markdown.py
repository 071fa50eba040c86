import re
import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ci.text.markdown import code, file_link, link, shell, table
from ci.text.visible import visible

HOSTILE = [
    "`",
    "``` ```",
    "a | b",
    "a \\| b",
    "\\",
    " padded ",
    "one\ntwo\n\n# three",
    "<script>alert(1)</script>",
    "<!-- -->",
    "[text](https://evil.example)",
    "![](https://evil.example/x.png)",
    "https://evil.example www.evil.example me@evil.example",
    "@someone #1 GH-1 owner/repo#1",
    "\x00\x1b[31m\x7f\x9b",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe\N{ZERO WIDTH SPACE}\N{LINE SEPARATOR}\N{NO-BREAK SPACE}",
    "\udcff\ufffe",
]


def texts_and_code(markdown: str) -> tuple[list[str], list[str], set[str]]:
    """The plain texts, the code spans and the other kinds of token in rendered Markdown."""
    tokens = [
        child
        for token in MarkdownIt("commonmark").enable("table").parse(markdown)
        for child in (token, *(token.children or []))
    ]
    texts = [token.content for token in tokens if token.type == "text"]
    spans = [token.content for token in tokens if token.type == "code_inline"]
    kinds = {token.type for token in tokens} - {"inline", "text", "code_inline"}
    return texts, spans, kinds


@given(st.sampled_from(["", *HOSTILE]), st.text(min_size=1))
def test_foreign_text_never_leaves_its_code_span(prefix: str, text: str) -> None:
    texts, spans, kinds = texts_and_code(f"before {code(prefix + text)} after")
    assert texts == ["before ", " after"]
    assert len(spans) == 1
    assert kinds == {"paragraph_open", "paragraph_close"}


def test_foreign_text_stays_in_its_cell(subtests: pytest.Subtests) -> None:
    for text in HOSTILE:
        with subtests.test(text=text):
            rendered = MarkdownIt("commonmark").enable("table").render(table(("one", "two"), [(code(text), code("x"))]))
            assert rendered.count("<td>") == 2
            assert re.search(r"<td><code>[^<]*</code></td>\s*<td><code>x</code></td>", rendered)


@given(st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50))
@example("`", "\\x60")
@example("\x60", "\\")
def test_two_texts_never_look_the_same(one: str, other: str) -> None:
    assert (code(one) == code(other)) == (one == other)


@given(st.text())
def test_nothing_unseen_is_left(text: str) -> None:
    assert visible(text).isprintable()


def test_ordinary_names_stay_readable() -> None:
    assert code("libstdc++6:i386 1:2.39~rc1-0+deb12u2 (größe)") == "`libstdc++6:i386 1:2.39~rc1-0+deb12u2 (größe)`"
    assert code("a|b") == "`a\\x7cb`"


def test_a_long_text_is_cut_and_an_empty_one_shown() -> None:
    assert len(code("x" * 5000)) < 210
    assert code("x" * 5000).endswith("…`")
    assert code("") == "`(empty)`"


def test_a_link_goes_where_it_says(subtests: pytest.Subtests) -> None:
    for url in [
        "https://github.com/o/r/releases/download/v2026.11.23/a_b-c~1.qcow2",
        "http://localhost:4010/o/r/compare/v1...v2",
        "https://example.org/a?b=c&d=%20#e",
    ]:
        with subtests.test(url=url):
            opened = [
                token.attrGet("href")
                for token in MarkdownIt("commonmark").parseInline(link("the image", url))[0].children or []
                if token.type == "link_open"
            ]
            assert opened == [url]
            assert file_link("a|b", url) == f"[`a\\x7cb`]({url})"


def test_what_could_not_be_followed_safely_is_shown_and_not_linked(subtests: pytest.Subtests) -> None:
    for url in [
        *HOSTILE,
        "",
        "javascript:alert(1)",
        "https://example.org/a b",
        "https://example.org/a)b",
        "https://example.org/a\n",
        "https://user:word@example.org/",
        "https://example.org/<b>",
        "//example.org/a",
    ]:
        with subtests.test(url=url):
            texts, spans, kinds = texts_and_code(link("the image", url))
            assert texts == ["the image: "]
            assert len(spans) == 1
            assert kinds == {"paragraph_open", "paragraph_close"}


def test_foreign_text_is_one_word_of_a_command_and_stays_in_its_block(subtests: pytest.Subtests) -> None:
    for text in [*HOSTILE, "$(reboot)", "a; reboot", "it's"]:
        with subtests.test(text=text):
            command = f"curl {shell(text)}"
            assert len(shlex.split(command)) == 2
            tokens = MarkdownIt("commonmark").parse(f"```sh\n{command}\n```\n")
            assert [token.type for token in tokens] == ["fence"]


def test_an_ordinary_url_needs_no_quotes_in_a_command() -> None:
    assert shell("https://example.org/v1/a-b_c.qcow2") == "https://example.org/v1/a-b_c.qcow2"


def test_a_table_without_rows_is_nothing() -> None:
    assert table(("one", "two"), []) == ""
