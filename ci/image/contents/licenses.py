"""What a package's copyright file says of its licenses, as SPDX expressions where that is sure.

https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cyclonedx.spdx import fixup_id, is_expression, is_supported_id

from ci.image.contents.inventory import paragraphs

FIELDS = ["Format", "Format-Specification", "Files", "License"]

# Older versions of the format have other addresses.
_FORMAT = re.compile(r"copyright-format|/dep5?(?:[/.]|$)", re.IGNORECASE)

# GPL-2+: version 2 or later; ".0" may be left out. GFDL-NIV is the one without invariant sections.
_GNU = re.compile(
    r"(?P<family>A?GPL|LGPL|GFDL)(?P<niv>-NIV)?-(?P<major>\d)(?:\.(?P<minor>\d))?(?P<later>\+?)", re.ASCII
)

# The format's names that are others in SPDX.
_RENAMED = {"expat": "MIT", "apache-1": "Apache-1.0", "apache-2": "Apache-2.0", "cc0": "CC0-1.0", "mpl-2": "MPL-2.0"}

# In SPDX they are identifiers of one text each; in Debian they name several.
_AMBIGUOUS = {"x11", "artistic-1.0"}

# A word without a version in it may be an identifier of SPDX by chance, or mean several texts in Debian, as MIT does.
# These do not.
_WORDS = {"curl", "fsfap", "fsful", "fsfullr", "ftl", "isc", "libpng", "postgresql", "unlicense", "zlib"}


@dataclass(frozen=True, slots=True, kw_only=True)
class License:
    """A license by the name it is given, and the SPDX expression of that, None where there is no sure one."""

    name: str
    expression: str | None


def read_copyright(content: bytes) -> tuple[License, ...]:
    """The licenses, sorted by name, each once; none where the file is not in the machine-readable format.

    They are those of the source package, of which a binary package may have only some.
    """
    # Not by debian.copyright: it keeps every line, so as to write the file back, and takes ten times as long.
    try:
        parts = paragraphs(content, FIELDS)
    except ValueError:
        return ()
    overall = ""
    found = set()
    for number, paragraph in enumerate(parts):
        synopsis = " ".join(paragraph.get("License", "").partition("\n")[0].split())
        if number == 0:
            if not _FORMAT.search(paragraph.get("Format") or paragraph.get("Format-Specification", "")):
                return ()
            overall = synopsis
        elif synopsis and "Files" in paragraph:
            found.add(synopsis)
    names = sorted(found or {overall} - {""})
    return tuple(License(name=name, expression=to_expression(name)) for name in names)


def to_expression(synopsis: str) -> str | None:
    """The SPDX expression for such a name, or for several with "and" and "or"; None where there is no sure one.

    "and" binds closer than "or", and a comma before either ends all that was bound before.
    """
    first, *rest = re.split(r", (and|or) ", synopsis)
    operators = {word.upper() for word in rest[::2]}
    groups = [_group(text) for text in (first, *rest[1::2])]
    if len(operators) > 1:
        return None
    return _join(groups, *operators)


def conjunction(expressions: Iterable[str]) -> str:
    """The expression for what is under all of these, each part of it once."""
    parts = {part for item in expressions for part in ([item] if " OR " in item else item.split(" AND "))}
    return _join(sorted(parts)) or ""


def _group(text: str) -> str | None:
    alternatives = [_join([_single(name) for name in item.split(" and ")]) for item in text.split(" or ")]
    return _join(alternatives, "OR")


def _join(expressions: Sequence[str | None], operator: str = "AND") -> str | None:
    known = list(dict.fromkeys(item for item in expressions if item is not None))
    if not known or None in expressions:
        return None
    other = {"AND": " OR ", "OR": " AND "}[operator]
    return f" {operator} ".join(f"({item})" if other in item and len(known) > 1 else item for item in known)


def _single(name: str) -> str | None:
    """One license, perhaps with an exception: those of SPDX are called `<name>-exception`, or by their name alone."""
    name, _, exception = name.partition(" with ")
    license_id = _license_id(name)
    if license_id is None or not exception:
        return license_id
    word = exception.removesuffix(" exception")
    options = (f"{license_id} WITH {fixup_id(word + suffix)}" for suffix in ("-exception", ""))
    return next((option for option in options if is_expression(option)), None)


def _license_id(name: str) -> str | None:
    lower = name.lower()
    if gnu := _GNU.fullmatch(name):
        version = f"{gnu['major']}.{gnu['minor'] or 0}"
        variant = f"{'-no-invariants' if gnu['niv'] else ''}{'-or-later' if gnu['later'] else '-only'}"
        license_id = f"{gnu['family']}-{version}{variant}"
        return license_id if is_supported_id(license_id) else None
    if lower in _RENAMED:
        return _RENAMED[lower]
    if lower in _AMBIGUOUS or not (lower in _WORDS or any(character.isdigit() for character in lower)):
        return None
    found = fixup_id(name)
    return found if found and is_expression(found) else None  # exceptions have identifiers too
