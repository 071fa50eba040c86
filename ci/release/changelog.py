"""The changelog, docs/releases.md: one entry per release, newest first, among whatever people wrote there."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ci.host.errors import InputError
from ci.records.version import Version

NOTHING_YET = "Nothing is released yet."

# As some editors begin a file with: no character of its text, and Markdown would hide a first line behind it.
BYTE_ORDER_MARK = "\ufeff"

# Line ends as Markdown knows them, https://spec.commonmark.org/0.31.2/#line-ending; str.splitlines knows more.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
# `v2026.11.23-rc1` and `v2026.11.23.x` are other people's.
_STARTS_WITH_TAG = re.compile(r"\[?(v\d{4}\.\d{2}\.\d{2}(?:\.\d+)?)(?![\w-]|\.\w)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heading:
    """A heading, outside quotations and lists, and the number of its line; `version` is what it starts with."""

    line: int
    level: int
    version: Version | None


def with_entry(text: str, tag: str, entry: str, where: str = "docs/releases.md") -> str:
    """`text` with `entry` above the first entry of an older release, or below the last one where there is none older.

    `entry` starts with a heading that starts with `tag`. Where a heading for the tag is there already, somebody's or
    ours, nothing changes. The sentence NOTHING_YET, as a paragraph of its own, gives way to the first entry. Raises
    InputError, naming the text as `where`, when its Markdown would hide the entry.
    """
    if text.startswith(BYTE_ORDER_MARK):
        return BYTE_ORDER_MARK + with_entry(text[1:], tag, entry, where)
    version = Version.parse(tag)
    if [heading.version for heading in _headings(entry)][:1] != [version]:
        raise ValueError(f"an entry starts with its heading, {tag}: {entry[:80]!r}")
    versions = [heading.version for heading in _headings(text) if heading.version]
    if version in versions:
        return text
    lines = _LINE.findall(text)
    if versions:
        start = end = _position(_headings(text), version, len(lines))
    else:
        start, end = _nothing_yet(text) or (len(lines), len(lines))
    result = _insert(lines[:start], entry, lines[end:])
    if sorted(heading.version for heading in _headings(result) if heading.version) != sorted([*versions, version]):
        raise InputError(
            f"{where} has no place for the entry of {tag}: what is around it would hide it",
            hint="Close the code block, the HTML comment or the HTML element that is left open in that file.",
        )
    return result


def read_entries(text: str) -> list[tuple[Version, str]]:
    """The versions that have an entry, as they stand, each with the entry's text."""
    text = text.removeprefix(BYTE_ORDER_MARK)
    lines, headings = _LINE.findall(text), _headings(text)
    return [
        (heading.version, "".join(lines[heading.line : _end(heading, headings, len(lines))]))
        for heading in _entries(headings)
        if heading.version
    ]


def says_nothing_yet(text: str) -> bool:
    """True where the sentence that gives way to the first entry is there."""
    return _nothing_yet(text.removeprefix(BYTE_ORDER_MARK)) is not None


def _blocks(text: str, kind: str) -> Iterator[tuple[Token, Token, tuple[int, int]]]:
    """The headings or paragraphs outside quotations and lists: what opens one, what is in it, and its lines."""
    for token, inline in pairwise(MarkdownIt("commonmark").parse(text)):
        if token.type == kind and token.level == 0 and token.map:
            yield token, inline, (token.map[0], token.map[1])


def _headings(text: str) -> list[_Heading]:
    return [
        _Heading(line=start, level=int(token.tag[1:]), version=_version(inline))
        for token, inline, (start, _) in _blocks(text, "heading_open")
    ]


def _version(inline: Token) -> Version | None:
    shown = "".join(child.content for child in inline.children or [] if child.type in {"text", "code_inline"})
    match = _STARTS_WITH_TAG.match(shown.lstrip())
    try:
        return Version.parse(match[1]) if match else None
    except InputError:  # no day of the calendar
        return None


def _position(headings: list[_Heading], version: Version, end: int) -> int:
    entries = list(_entries(headings))
    older = (heading.line for heading in entries if heading.version and heading.version < version)
    return next(older, _end(entries[-1], headings, end))


def _end(entry: _Heading, headings: list[_Heading], end: int) -> int:
    """The line behind an entry: that of the next heading of its level, or the text's `end`."""
    return next((one.line for one in headings if one.line > entry.line and one.level <= entry.level), end)


def _entries(headings: list[_Heading]) -> Iterator[_Heading]:
    """The headings of releases, without those further down in an entry, where people may speak of other releases."""
    level = None
    for heading in headings:
        if level is None or heading.level <= level:
            level = heading.level if heading.version else None
            if heading.version:
                yield heading


def _nothing_yet(text: str) -> tuple[int, int] | None:
    """The first line of that sentence, and the one behind it."""
    paragraphs = _blocks(text, "paragraph_open")
    return next((lines for _, inline, lines in paragraphs if inline.content == NOTHING_YET), None)


def _insert(before: list[str], entry: str, after: list[str]) -> str:
    """The text with `entry` between blank lines, in the line ends of the text."""
    end = "\r\n" if (before or after or [""])[0].endswith("\r\n") else "\n"
    added = [f"{line}{end}" for line in entry.strip("\n").split("\n")]
    if before and before[-1].strip():
        added.insert(0, end)
    if before and not before[-1].endswith(("\r", "\n")):
        added.insert(0, end)
    if after and after[0].strip():
        added.append(end)
    return "".join([*before, *added, *after])
