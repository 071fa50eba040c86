"""Text that nobody here chose, as it may be shown: all of it goes through `visible`, for a terminal through `printed`.

Nothing moves a cursor, turns the direction of writing, hides, or ends a line that is one.
"""

import re

# What Actions' runner takes for a command in whatever a step prints: at a line's start, in the old form anywhere.
# https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
_COMMAND = re.compile(r"^([ \t]*):(?=:)|#(?=#\[)", re.MULTILINE)


def visible(text: str, special: str = "\\", kept: str = "") -> str:
    """`text` with its code for each character that is in `special`, or neither printable nor in `kept`.

    The backslash is special, because it begins such a code, but where text is only looked at.
    """
    return "".join(one if one in kept or (one.isprintable() and one not in special) else _code_of(one) for one in text)


def lines(text: str) -> str:
    """`text` of any number of lines: their ends and tabs stay, and so do backslashes, of which tools print many."""
    return visible(text.replace("\r\n", "\n"), "", "\n\t")


def printed(text: str) -> str:
    """`text` of any number of lines as it may be printed: to Actions none of them is a command.

    The codes here are those of JSON, so that JSON which is printed stays the same JSON.
    """
    return _COMMAND.sub(lambda found: rf"{found[1]}\u003a" if found[0][-1] == ":" else r"\u0023", lines(text))


def _code_of(character: str) -> str:
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
