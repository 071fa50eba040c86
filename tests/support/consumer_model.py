"""Toolsmith as it is, as a model: its decoder, its hydration, its verification, and its faults.

Written from the description of the consumer, not from this repository's own manifest code, and stricter than it where
the description leaves room: what this model takes, the consumer takes.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE_KEYS = ("name", "tarball", "sha256", "qcow2", "qcow2_sha256")


class DecodeError(Exception):
    """The manifest is refused."""


class ImageNotListedError(Exception):
    """The file's name is not what the manifest has in `qcow2`: so it always is with a URL."""


class NotHydratedError(Exception):
    """The image is neither in the cache nor beside the manifest, or the cache has no folder for it."""


class DigestMismatchError(Exception):
    """The file is not what the manifest promises."""


@dataclass(frozen=True)
class Image:
    name: str
    tarball: str
    sha256: str
    qcow2: str
    qcow2_sha256: str


@dataclass(frozen=True)
class Decoded:
    image: Image
    tools: dict[str, str]
    operations: list[str]


def decode(data: bytes) -> Decoded:
    """Every key must be there and of its type; unknown ones are ignored. Doubled keys, BOMs and NaN are refused."""
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DecodeError(str(error)) from error
    top = _object(document, "manifest")
    image = _object(_value(top, "image"), "image")
    values = {key: _string(_value(image, key), key) for key in IMAGE_KEYS}
    for key in ("sha256", "qcow2_sha256"):
        if not re.fullmatch(r"([0-9a-f]{64})?", values[key]):
            raise DecodeError(f"{key} is no lower-case SHA-256")
    tools = _object(_value(top, "tools"), "tools")
    operations = _value(top, "operations")
    if not isinstance(operations, list):
        raise DecodeError("operations is not an array")
    return Decoded(
        image=Image(**values),
        tools={key: _string(value, key) for key, value in tools.items()},
        operations=[_string(value, "operations") for value in operations],
    )


def manifest_path(workspace: Path) -> Path:
    return workspace / ".toolsmith" / "tools.json"


def cache_path(workspace: Path, image: Image) -> Path:
    """As text: a URL in `qcow2` is pasted into the path as it is."""
    return Path(f"{workspace}/.toolsmith/cache/{image.name}/{image.qcow2_sha256}/{image.qcow2}")


def hydrate(workspace: Path) -> Path:
    """The image that a launch would boot: from the cache, or copied there from beside the manifest; verified."""
    image = decode(manifest_path(workspace).read_bytes()).image
    if not image.qcow2:
        raise NotHydratedError("no image")
    target = cache_path(workspace, image)
    if not target.is_file():
        beside = manifest_path(workspace).parent / image.qcow2
        if not beside.is_file():
            raise NotHydratedError(f"{target} is not there")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(beside.read_bytes())
    verify(target, image)
    return target


def verify(path: Path, image: Image) -> None:
    """What is done at every launch."""
    if path.name != image.qcow2:
        raise ImageNotListedError(f"{path.name} is not {image.qcow2}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != image.qcow2_sha256:
        raise DigestMismatchError(str(path))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise DecodeError("a key comes twice")
    return dict(pairs)


def _no_number(text: str) -> float:
    raise DecodeError(f"{text} is no number")


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DecodeError(f"{what} is not an object")
    return value


def _value(holder: dict[str, Any], key: str) -> object:
    if key not in holder:
        raise DecodeError(f"{key} is missing")
    value: object = holder[key]
    return value


def _string(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise DecodeError(f"{what} is not a string")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise DecodeError(f"{what} is not text")
    return value
