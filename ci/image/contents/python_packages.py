"""Python distributions by their metadata, and which of them dpkg installed.

https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser

from cyclonedx.spdx import is_expression

from ci.image.contents.licenses import License

LIBRARIES = ("/usr/lib", "/usr/local/lib")
# An egg-info is either a folder or the file itself.
METADATA_FILES = ((".dist-info", "/METADATA"), (".egg-info", "/PKG-INFO"), (".egg-info", ""))

_INTERPRETER = re.compile(r"python3(?:\.\d{1,3})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A Python distribution; `path` is that of its metadata."""

    name: str
    version: str
    path: str
    license: License | None


def sites(libraries: Mapping[str, Iterable[str]]) -> list[str]:
    """The folders of packages that may be in these libraries, of which is known what is in them."""
    interpreters = [f"{at}/{name}" for at, names in libraries.items() for name in names if _INTERPRETER.fullmatch(name)]
    return [f"{folder}/{site}" for folder in interpreters for site in ("dist-packages", "site-packages")]


def metadata_paths(folders: Mapping[str, Iterable[str]]) -> list[str]:
    """The paths where the metadata of what is in these folders of packages may be."""
    return [
        f"{folder}/{name}{file}"
        for folder, names in folders.items()
        for name in names
        for suffix, file in METADATA_FILES
        if name.endswith(suffix)
    ]


def parse_metadata(content: bytes, path: str) -> Distribution | None:
    """None where it has no name or no version: nothing that could be looked up."""
    headers = HeaderParser().parsestr(content.decode(errors="replace"))
    name, version, expression, text = (
        str(headers.get(field, "")).strip() for field in ("Name", "Version", "License-Expression", "License")
    )
    if not _NAME.fullmatch(name) or not _VERSION.fullmatch(version):
        return None
    terms = None
    if expression and is_expression(expression):
        terms = License(name=expression, expression=expression)
    elif text and "\n" not in text:  # some have the whole text in it
        terms = License(name=text, expression=None)
    return Distribution(name=name, version=version, path=path, license=terms)
