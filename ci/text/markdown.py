"""Text from outside in Markdown that GitHub renders: names, URLs and versions that nobody here chose.

Everything foreign goes into a code span. A backslash or an entity would not do: GitHub looks for mentions and
references after both are resolved, everywhere but in code (https://github.com/github/cmark-gfm/issues/181).
"""

import html
import re
import shlex
from collections.abc import Iterable, Sequence

from ci.text.visible import lines, visible

LONGEST = 200
# What could end a code span or a cell, and what begins a code.
SPECIAL = "`|\\"
_LINKABLE = re.compile(r"https?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._~/?#@!$&'+,;=:%-]*)?", re.ASCII)

# Words and versions that GitHub makes nothing of: no commit, and no issue as in GH-1.
_PLAIN = re.compile(r"(?!gh-\d)(?![0-9a-f]{7,}\Z)[A-Za-z][a-z0-9-]*( [a-z0-9-]+)*|v\d[\d.]*", re.ASCII)


class Markdown(str):
    """Text that may stand in Markdown as it is: written here, or made of such text and of code spans.

    A test lets nobody but this room make one of anything but a literal.
    """

    __slots__ = ()

    def format(self, *args: object, **named: object) -> "Markdown":
        """As str.format; a text that is no Markdown becomes a code span."""
        return Markdown(super().format(*map(_safe, args), **{name: _safe(value) for name, value in named.items()}))

    def join(self, parts: Iterable[str]) -> "Markdown":
        """As str.join; a part that is no Markdown becomes a code span."""
        return Markdown(super().join(map(cell, parts)))


# What blocks are joined by, and what things in a row are.
BLOCKS, LIST = Markdown("\n\n"), Markdown(", ")


def code(text: str) -> Markdown:
    """`text` as a code span, in a table too: what could end either, or is not printable, is written as its code."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}…"
    return Markdown(f"`{visible(text, SPECIAL)}`" if text else "`(empty)`")


def word(text: str) -> Markdown:
    """`text` as it is where it is plain words or a version, else as code."""
    return Markdown(text) if _PLAIN.fullmatch(text) else code(text)


def _safe(value: object) -> object:
    return cell(value) if isinstance(value, str) else value


def cell(text: str) -> Markdown:
    """`text` as it is where it is ours, else as code."""
    return text if isinstance(text, Markdown) else code(text)


def link(text: str, url: str) -> Markdown:
    """`url` under a text of ours; where it is none that could be followed safely, the URL itself as code."""
    if not _LINKABLE.fullmatch(url):
        return Markdown(f"{text}: {code(url)}")
    return Markdown(f"[{text}]({url})")


def folded(title: str, name: str, block: Markdown) -> Markdown:
    """`block` under a title of ours and a name, which open it; there GitHub reads HTML, not Markdown."""
    shown = name if _PLAIN.fullmatch(name) else f"<code>{html.escape(visible(name))}</code>"
    heading = f"{html.escape(title)} {shown}"
    return Markdown(f"<details><summary>{heading}</summary>\n\n{block}\n\n</details>")


def file_link(name: str, url: str) -> Markdown:
    """A file's name as a link to it."""
    return link(code(name), url)


def shell(argument: str) -> Markdown:
    """`argument` as one word of a shell command in a fenced code block."""
    return Markdown(shlex.quote(visible(argument, SPECIAL)))


def quoted(text: str) -> Markdown:
    """`text` of any number of lines, as it is."""
    # An empty line would end the HTML block in some renderers.
    return Markdown(f"<pre>{html.escape(lines(text), quote=False)}</pre>".replace("\n\n", "\n&#8203;\n"))


def first(names: Sequence[str], count: int) -> Markdown:
    """So many of the names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return Markdown(f"{LIST.join(names[:count])}{more}")


def table(columns: Sequence[str], rows: Sequence[Sequence[Markdown]]) -> Markdown:
    """A table; nothing where there are no rows."""
    if not rows:
        return Markdown("")
    whole = [columns, ("---",) * len(columns), *rows]
    return Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in whole))
