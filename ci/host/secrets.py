"""Tokens: read once, and masked in everything this process writes."""

import base64
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

from ci.host import actions

MASK = "***"
# Shorter values would mask ordinary words.
SHORTEST = 8

_LOGIN = re.compile(r"(https?://)(?!USER:PASSWORD@)[^\s/@]+@", re.IGNORECASE)

_values: set[str] = set()


def read_secret(environ: Mapping[str, str], name: str) -> str | None:
    """The value of an environment variable, masked from now on; None where it is not set, or empty."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    mask(value)
    return value


def mask(value: str, shortest: int = SHORTEST) -> None:
    """Never show `value` again, neither here nor, in Actions, in the log of the run."""
    if len(value) < shortest or value in _values:
        return
    _values.add(value)
    if actions.in_actions():
        actions.tell("add-mask", value)


def mask_proxies(environ: Mapping[str, str]) -> None:
    """Never show the passwords of proxies, in whatever form libraries and other programs write them.

    A short one is masked only behind its user, as in an address.
    """
    for name, value in environ.items():
        if name.lower().endswith("_proxy") and (found := re.match(r"(?:\w+://)?(.+)@", value)):
            plain = unquote(found[1])
            mask(base64.b64encode(plain.encode(errors="surrogateescape")).decode())  # as it is sent
            for login in (found[1], plain, quote(plain, safe=":", errors="surrogateescape")):
                mask(f"{login}@", 2)
                mask(login.partition(":")[2])


def masked(text: str) -> str:
    """`text` without the values given to `mask`, and without what stands before a server's name in a web address."""
    text = _LOGIN.sub(rf"\1{MASK}@", text)
    if not _values:
        return text
    longest_first = sorted(_values, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text)
