"""Another base in a definition that people write: two values change, and not a byte besides."""

import tomllib

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import String, Table

from ci.host.errors import InputError


def repinned(text: str, url: str, sha256: str, where: str) -> str:
    """The definition `text` with another `base.url` and `base.sha256`; `where` names it in errors.

    Raises InputError where they are not written as two plain values.
    """
    wanted = {"url": url, "sha256": sha256}
    not_plain = InputError(
        f"`url` and `sha256` of the table `base` cannot be changed alone in {where}",
        hint="Write each on a line of its own below [base], as strings, as build/images/jammy.toml has them.",
    )
    try:
        document = tomlkit.parse(text)
    except TOMLKitError:
        raise not_plain from None
    base = document.get("base")
    if not isinstance(base, Table) or not all(isinstance(base.get(key), String) for key in wanted):
        raise not_plain
    base.update(wanted)
    result = tomlkit.dumps(document)
    expected = tomllib.loads(text)
    expected["base"] |= wanted
    old, new = text.splitlines(keepends=True), result.splitlines(keepends=True)
    changed = sum(one != other for one, other in zip(old, new, strict=False))
    if tomllib.loads(result) != expected or len(old) != len(new) or changed > len(wanted):
        raise not_plain
    return result
