"""Text from outside in Markdown that GitHub renders: names, URLs and versions that nobody here chose.

Everything foreign goes into a code span. A backslash or an entity would not do: GitHub looks for mentions and
references after both are resolved, everywhere but in code (https://github.com/github/cmark-gfm/issues/181).
"""

import re
import shlex
from collections.abc import Sequence

LONGEST = 200
_LINKABLE = re.compile(r"https?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._~/?#@!$&'+,;=:%-]*)?", re.ASCII)


class Markdown(str):
    """Text that may stand in Markdown as it is."""

    __slots__ = ()


def code(text: str) -> Markdown:
    """`text` as a code span, in a table too: what could end either, or is not printable, is written as its code."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return Markdown(f"`{visible(text, '`|')}`" if text else "`(empty)`")


def cell(text: str) -> Markdown:
    """`text` as it is where it is ours, else as code."""
    return text if isinstance(text, Markdown) else code(text)


def link(text: str, url: str) -> Markdown:
    """`url` under a text of ours; where it is none that could be followed safely, the URL itself as code."""
    if not _LINKABLE.fullmatch(url):
        return Markdown(f"{text}: {code(url)}")
    return Markdown(f"[{text}]({url})")


def file_link(name: str, url: str) -> Markdown:
    """A file's name as a link to it."""
    return link(code(name), url)


def shell(argument: str) -> Markdown:
    """`argument` as one word of a shell command in a fenced code block."""
    return Markdown(shlex.quote(visible(argument, "`|")))


def table(columns: Sequence[str], rows: Sequence[Sequence[Markdown]]) -> Markdown:
    """A table; nothing where there are no rows."""
    if not rows:
        return Markdown("")
    lines = [columns, ("---",) * len(columns), *rows]
    return Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in lines))


def visible(text: str, special: str = "") -> str:
    """`text` with its code for each character that is not printable, or in `special`, or begins such a code."""
    return "".join(
        character if character.isprintable() and character not in f"{special}\\" else _code_of(character)
        for character in text
    )


def _code_of(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
