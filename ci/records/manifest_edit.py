"""Change a manifest's image and not one byte besides: the rest of the file belongs to the consumer.

Runs on Python 3.10 too, for consumers of the image.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ci.records.manifest_rules import IMAGE_CHECKS, read_manifest

Fields = Mapping[str, str | int | None]

_decode = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A member of an object as it stands in a text; each number is the position of a character.

    `after` is the end of the member before it, or the position behind the object's opening brace.
    """

    name: str
    after: int
    key: int
    key_end: int
    value: int
    value_end: int


def replace_image(text: str, fields: Fields, where: str, *, add: bool = False) -> str:
    """The manifest in `text` with the values of `fields` in its image; every other character stays.

    A value that is right already keeps its spelling; None takes the key away. Where the image lacks one of ours, it is
    added behind its last member if `add` is set, and left out if not, but for `qcow2_url`: without it a bare file name
    leads nowhere. Line ends are kept: `text` must be decoded bytes, not what a file opened as text gives. Raises
    InputError, naming the manifest as `where`, when it is none or would be none afterwards.
    """
    if unknown := fields.keys() - IMAGE_CHECKS.keys():
        raise ValueError(f"not fields of an image: {unknown}")
    before = read_manifest(text.encode("utf-8", "surrogatepass"), where)
    image = before["image"]
    missing = {key for key, value in fields.items() if value is not None and (add or key == "qcow2_url")}
    meant = {key: value for key, value in fields.items() if key in image or key in missing}
    start = next(member.value for member in _members(text, 0) if member.name == "image")
    first, *others = _members(text, start)
    result = _insert(text, others[-1], {key: value for key, value in meant.items() if key not in image})
    for member in (*reversed(others), first):  # from the end, so that positions before it stay right
        name = member.name
        if name not in meant or image[name] == meant[name]:
            continue
        if meant[name] is not None:
            result = result[: member.value] + json.dumps(meant[name]) + result[member.value_end :]
        elif member is first:  # with the comma behind it, others with the one before them
            result = result[: member.key] + result[_skip(result, _skip(result, member.value_end) + 1) :]
        else:
            result = result[: member.after] + result[member.value_end :]
    after = {key: value for key, value in {**image, **meant}.items() if value is not None or key not in meant}
    # As text, because the order of keys matters, and True is not 1.
    if json.dumps(read_manifest(result.encode("utf-8"), where)) != json.dumps({**before, "image": after}):
        raise RuntimeError("the edited manifest does not say what was meant")
    return result


def _members(text: str, start: int) -> Iterator[_Member]:
    """The members of the object at `start`, or behind white space there; `text` must be valid JSON."""
    after = _skip(text, start) + 1
    position = _skip(text, after)
    while text[position] != "}":
        key = position
        name, key_end = _decode(text, key)
        value = _skip(text, _skip(text, key_end) + 1)  # past the colon
        _, value_end = _decode(text, value)
        yield _Member(name=name, after=after, key=key, key_end=key_end, value=value, value_end=value_end)
        after = value_end
        position = _skip(text, after)
        if text[position] == ",":
            position = _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    while text[position] in " \t\n\r":
        position += 1
    return position


def _insert(text: str, last: _Member, missing: Fields) -> str:
    """Members behind the last one, separated and spaced as it is; an image has more than one member."""
    separator, colon = text[last.after : last.key], text[last.key_end : last.value]
    added = "".join(f"{separator}{json.dumps(key)}{colon}{json.dumps(value)}" for key, value in missing.items())
    return text[: last.value_end] + added + text[last.value_end :]
