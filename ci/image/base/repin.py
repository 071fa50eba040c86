"""Another base in a definition that people write: two values change, and not a byte besides."""

import tomllib
from collections.abc import Mapping

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import String, Table

from ci.host.errors import InputError


def repinned(text: str, url: str, sha256: str, where: str) -> str:
    """The definition `text` with another `base.url` and `base.sha256`; `where` names it in errors.

    Raises InputError where they are not written as two plain values.
    """
    wanted = {"url": url, "sha256": sha256}
    try:
        document = tomlkit.parse(text)
    except TOMLKitError:
        raise _not_plain(where) from None
    base = document.get("base")
    if not isinstance(base, Table) or not all(isinstance(base.get(key), String) for key in wanted):
        raise _not_plain(where)
    for key, value in wanted.items():
        base[key] = value
    result = tomlkit.dumps(document)
    if not _only(wanted, text, result):
        raise _not_plain(where)
    return result


def _only(wanted: Mapping[str, str], before: str, after: str) -> bool:
    """True where the base's `wanted` values, each on its line, are all that differs."""
    expected = tomllib.loads(before)
    expected["base"] |= wanted
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    changed = sum(one != other for one, other in zip(old, new, strict=False))
    return tomllib.loads(after) == expected and len(old) == len(new) and changed <= len(wanted)


def _not_plain(where: str) -> InputError:
    return InputError(
        f"`url` and `sha256` of the table `base` cannot be changed alone in {where}",
        hint="Write each on a line of its own below [base], as strings, as build/images/jammy.toml has them.",
    )
