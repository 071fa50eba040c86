"""The manifest, `tools.json`, in which Toolsmith finds its image: what it may say, and how it is read.

`qcow2` of its image is a URL, a path, or a file name relative to the manifest's folder; `size` is its bytes, and
`qcow2_url` remembers where a bare file name came from. `tarball` and `sha256` are those of a container variant; an
empty string says that there is none. Before the first release the image is NO_IMAGE, a file that is nowhere. Manifests
of before 2026-11-28 have an empty `qcow2` instead, with which Toolsmith deletes its cache: docs/consuming.md.

Toolsmith needs every key that is not in OPTIONAL, and ignores any that has no rule: the file also holds what others
wrote. manifests/tools.schema.json says as much of the rules as a schema can, for editors. They are plain functions,
because the tool that consumers run has no room for a compiled library. Runs on Python 3.10 too.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from ci.host.errors import InputError
from ci.records.strict_json import parse_json, shown_key

MAX_BYTES = 1 << 20
MAX_SIZE = 1 << 40
MAX_NAME = 200
MAX_REFERENCE = 2000
UNPUBLISHED = "unpublished"
NO_FILE = f"{UNPUBLISHED}.qcow2"
NO_DIGEST = "0" * 64  # of which no file is known
NO_IMAGE: dict[str, str | int] = {
    "name": UNPUBLISHED,
    "tarball": "",
    "sha256": "",
    "qcow2": NO_FILE,
    "qcow2_sha256": NO_DIGEST,
    "version": UNPUBLISHED,
    "size": 0,
}
WEB_SCHEMES = ("https", "http")
SCHEMES = (*WEB_SCHEMES, "oci")

# Control characters, and those that hide or reorder the text around them.
UNSEEN = r"\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
DIGEST = r"^([0-9a-f]{64})?$"
FOLDER = rf"^([^./\\{UNSEEN}][^/\\{UNSEEN}]*)?$"
VERSION = rf"^({UNPUBLISHED}|v[0-9]{{4}}\.[0-9]{{2}}\.[0-9]{{2}}(\.[1-9][0-9]{{0,8}})?)?$"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")

Document = dict[str, Any]

SHAPES: dict[str, tuple[Any, str]] = {
    "image": (dict, "an object"),
    "tools": (dict, "an object"),
    "operations": (list, "an array"),
}


def read_manifest(data: bytes, where: str) -> Document:
    """The manifest in a file's bytes; raises InputError for what the consumer or a tool of ours could misread.

    `where` names the file in the error.
    """
    if len(data) > MAX_BYTES:
        raise malformed(where, f"it has {len(data)} bytes, more than {MAX_BYTES}")
    try:
        document = parse_json(data)
    except ValueError as error:
        raise malformed(where, str(error)) from error
    if not isinstance(document, dict):
        raise malformed(where, "it is not an object")
    if findings := list(manifest_findings(document)):
        raise malformed(where, findings[0], details="\n".join(findings))
    return document


def manifest_findings(document: Document) -> Iterator[str]:
    """What is wrong with a manifest, each with the key it is about."""
    for key, (kind, words) in SHAPES.items():
        value = document.get(key)
        if not isinstance(value, kind):
            yield f"{key}: " + (f"it is not {words}" if key in document else "the key is missing")
        elif key == "image":
            yield from (f"image.{finding}" for finding in image_findings(value))
        else:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            yield from (f"{key}.{shown_key(at)}: it is not a string" for at, item in items if not isinstance(item, str))


def image_findings(image: Document) -> list[str]:
    """What is wrong with the `image` of a manifest, each with the key it is about."""
    missing = [f"{key}: the key is missing" for key in IMAGE_CHECKS if key not in image and key not in OPTIONAL]
    problems = {key: check(image[key]) for key, check in IMAGE_CHECKS.items() if key in image}
    found = [*missing, *(f"{key}: {problem}" for key, problem in problems.items() if problem)]
    if not found and (contradiction := _contradiction(image)):
        found.append(contradiction)
    return found


def is_published(image: Document) -> bool:
    """Whether a manifest's image is that of a release."""
    return image["qcow2"] not in {"", NO_FILE}


def toolsmith_obstacle(manifest: Mapping[str, object]) -> str | None:
    """Why today's Toolsmith cannot hydrate a manifest's image even from its cache; None where it can.

    `manifest` is as `read_manifest` returns it. What Toolsmith does with each: docs/consuming.md.
    """
    image = cast("Document", manifest["image"])
    if not image["qcow2"]:
        return "image.qcow2 is empty: nothing is released by it, and Toolsmith deletes its cache when it reads that"
    if not is_published(image):
        return "nothing is released by it yet"
    if "/" in image["qcow2"]:
        return "image.qcow2 is more than a file's name, and Toolsmith looks in its cache for a file of that very name"
    return None


def _contradiction(image: Document) -> str | None:
    """An image is there as a whole, or not at all."""
    version, size = image.get("version", ""), image.get("size")
    if image["qcow2"] and not image["name"]:
        return "qcow2: there is one, but no name"
    if is_published(image):
        if not image["qcow2_sha256"] or version == UNPUBLISHED or size == 0:
            return "qcow2: there is one, but its digest, version or size says that there is none"
    elif image["qcow2_sha256"] != (NO_DIGEST if image["qcow2"] else "") or version not in {"", UNPUBLISHED} or size:
        return "qcow2: there is none, but a digest, version or size of one"
    return None


def _text(rule: Callable[[str], str | None], longest: int = MAX_REFERENCE) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        if not isinstance(value, str):
            return "it is not a string"
        return f"it has more than {longest} characters" if len(value) > longest else rule(value)

    return check


def _matching(pattern: str, problem: str) -> Callable[[str], str | None]:
    # All of it, because `$` also matches before a last line feed in Python.
    return lambda value: None if re.fullmatch(pattern, value) else problem


def _reference(value: str) -> str | None:
    """What is wrong with a reference: it must lead to a file, and not out of the folder it is looked up in."""
    scheme = _SCHEME.match(value)
    return _url(value, scheme[1]) if scheme else _path(value)


def _url(value: str, scheme: str) -> str | None:
    if scheme not in SCHEMES:
        return f"the scheme is none of {', '.join(SCHEMES)}"
    try:
        parts = urlsplit(value)
        complete = bool(parts.hostname) and parts.port != 0 and " " not in value
    except ValueError:  # a port or an IPv6 address that is none
        return "it is not a URL"
    if not complete or not parts.path or _unseen(value):
        return "it is not a complete URL"
    return _path(parts.path)


def _path(value: str) -> str | None:
    path = unquote(value)
    if _unseen(path):
        return "the path has a character that no file name should have"
    segments = path.split("/")
    if value and (".." in segments or segments[-1] in {"", "."}):
        return "the path does not lead to a file, or leads out of its folder"
    return None


def _unseen(text: str) -> bool:
    return re.search(rf"[\\{UNSEEN}]", text) is not None


def _origin(value: str) -> str | None:
    complete = not value or value.startswith(("/", *(f"{scheme}://" for scheme in WEB_SCHEMES)))
    return _reference(value) or (None if complete else "it is no web address, and no absolute path")


def _size(value: object) -> str | None:
    if type(value) is not int:  # True is an int, too
        return "it is not a whole number"
    return None if 0 <= value <= MAX_SIZE else f"it is not between 0 and {MAX_SIZE}"


IMAGE_CHECKS: dict[str, Callable[[object], str | None]] = {
    "name": _text(_matching(FOLDER, "it is not the name of a folder"), MAX_NAME),
    "tarball": _text(_reference),
    "sha256": _text(_matching(DIGEST, "it is not a SHA-256 in lower-case hex")),
    "qcow2": _text(_reference),
    "qcow2_sha256": _text(_matching(DIGEST, "it is not a SHA-256 in lower-case hex")),
    "version": _text(_matching(VERSION, "it is not a version such as v2026.11.23")),
    "size": _size,
    "qcow2_url": _text(_origin),
}
# Ours: Toolsmith does not know them, and a consumer's manifest may lack them.
OPTIONAL = ("version", "size", "qcow2_url")


def malformed(where: str, problem: str, details: str = "") -> InputError:
    """The error for a file that is no manifest."""
    hint = "manifests/README.md explains the keys, and manifests/tools.schema.json is the schema of such a file."
    return InputError(f"{where} is not a manifest: {problem}", hint=hint, details=details)
