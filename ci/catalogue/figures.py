"""Figures and foreign texts as people read them."""

import re
from urllib.parse import urlsplit

_MINUS = "\u2212"
_WEB = re.compile(r"https?://[A-Za-z0-9.:-]+(/[A-Za-z0-9._~/?#@!$&'()*+,;=:%-]*)?", re.ASCII)
_LOCAL = {"localhost", "127.0.0.1"}


def visible(text: str) -> str:
    """`text` with what could not be seen, or would reorder what is around it, written as its code."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def safe_link(url: str) -> str | None:
    """`url` where following it can do no harm, None where it is to be shown only.

    Encrypted, or on this machine, where releases are rehearsed; and the host is what it seems to be.
    """
    if not _WEB.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    return url if host and (parts.scheme == "https" or host in _LOCAL) else None


def size(count: int) -> str:
    """Bytes in the unit that download pages use."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return f"{value:,.1f} {unit}"


def change(difference: int) -> str:
    """How many bytes more or fewer."""
    if difference == 0:
        return "unchanged"
    return f"{'+' if difference > 0 else _MINUS}{size(abs(difference))}"


def seconds(value: float) -> str:
    return f"{value:.1f} s"


def plural(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
