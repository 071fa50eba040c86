import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.host.errors import InputError
from ci.records.manifest_edit import Fields, replace_image
from ci.records.manifest_rules import IMAGE_CHECKS, NO_IMAGE, SHAPES, is_published, read_manifest

OLD_URL = "https://github.com/fountain/image/releases/download/v2026.11.01/image.qcow2"
NEW: Fields = {
    "name": "fountainkit-toolsmith-ubuntu-2204-v2026.11.23",
    "qcow2": "https://github.com/fountain/image/releases/download/v2026.11.23/image.qcow2",
    "qcow2_sha256": "b" * 64,
    "version": "v2026.11.23",
    "size": 123456,
}
IMAGE: dict[str, Any] = {
    "name": "toolsmith",
    "tarball": "",
    "sha256": "",
    "qcow2": OLD_URL,
    "qcow2_sha256": "a" * 64,
}

spaces = st.text(alphabet=" \t\n\r", max_size=3)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)
names = st.text(max_size=8)


@dataclass(frozen=True)
class Hole:
    """Where a value of the image stands that an edit may change."""

    key: str


def spelt(draw: st.DrawFn, text: str) -> str:
    """One of the ways to write a string in JSON."""
    match draw(st.sampled_from(["ascii", "unicode", "slashes", "escapes"])):
        case "ascii":
            return json.dumps(text)
        case "slashes":
            return json.dumps(text).replace("/", "\\/")
        case "escapes" if all(ord(character) <= 0xFFFF for character in text):
            return '"' + "".join(f"\\u{ord(character):04x}" for character in text) + '"'
        case _:
            return json.dumps(text, ensure_ascii=False)


def written(draw: st.DrawFn, value: object) -> str:
    """One of the ways to write a value in JSON, white space and escapes included; a hole keeps its name."""
    match value:
        case Hole(key):
            return f"\0{key}\0"
        case str():
            return spelt(draw, value)
        case dict():
            space = draw(spaces)
            members = [f"{spelt(draw, key)}{draw(spaces)}:{space}{written(draw, item)}" for key, item in value.items()]
            return f"{{{draw(spaces)}{f'{draw(spaces)},{space}'.join(members)}{draw(spaces)}}}"
        case list():
            return f"[{draw(spaces)}{f'{draw(spaces)},'.join(written(draw, item) for item in value)}{draw(spaces)}]"
        case _:
            return json.dumps(value)


@dataclass(frozen=True)
class Case:
    """A manifest, and what it must become."""

    before: str
    after: str


@st.composite
def cases(draw: st.DrawFn) -> Case:
    old = IMAGE | draw(st.fixed_dictionaries({}, optional={"version": st.just("v2026.11.01"), "size": st.just(7)}))
    extras = draw(st.dictionaries(names.filter(lambda key: key not in IMAGE_CHECKS), values, max_size=3))
    image = {key: Hole(key) if key in NEW else value for key, value in old.items()}
    document = {
        "image": dict(draw(st.permutations([*image.items(), *extras.items()]))),
        "tools": draw(st.dictionaries(st.text(), st.text(), max_size=3)),
        "operations": draw(st.lists(st.text(), max_size=3)),
        **draw(st.dictionaries(names.filter(lambda key: key not in SHAPES), values, max_size=3)),
        "nested": {"image": IMAGE},
    }
    ordered = dict(draw(st.permutations(list(document.items()))))
    text = draw(spaces) + written(draw, ordered) + draw(spaces)
    spellings = {key: written(draw, value) for key, value in old.items()}
    return Case(
        before=re.sub("\0(.*?)\0", lambda hole: spellings[hole[1]], text),
        after=re.sub("\0(.*?)\0", lambda hole: json.dumps(NEW[hole[1]]), text),
    )


@given(cases())
def test_only_the_named_values_change_and_every_other_character_stays(case: Case) -> None:
    assert replace_image(case.before, NEW, "tools.json") == case.after


@given(cases())
def test_added_keys_come_last_and_everything_else_stays(case: Case) -> None:
    result = json.loads(replace_image(case.before, NEW, "tools.json", add=True))
    expected = json.loads(case.after)
    added = {key: NEW[key] for key in ("version", "size") if key not in expected["image"]}
    expected["image"] |= added  # a new key is the last one
    assert json.dumps(result) == json.dumps(expected)


@given(cases(), st.booleans())
def test_a_second_time_changes_nothing(case: Case, add: bool) -> None:  # noqa: FBT001 - hypothesis draws it
    once = replace_image(case.before, NEW, "tools.json", add=add)
    assert replace_image(once, NEW, "tools.json", add=add) == once


@given(cases())
def test_values_that_are_right_already_keep_their_spelling(case: Case) -> None:
    same = {key: value for key, value in json.loads(case.before)["image"].items() if key in NEW}
    assert replace_image(case.before, same, "tools.json") == case.before


@settings(max_examples=20)
@given(cases(), st.integers(min_value=0, max_value=9))
def test_a_key_that_goes_takes_nothing_with_it(case: Case, place: int) -> None:
    document = json.loads(case.before)
    members = [*document["image"].items()]
    with_it = dict([*members[:place], ("qcow2_url", OLD_URL), *members[place:]])
    for text in (json.dumps({**document, "image": with_it}, indent=1), json.dumps({**document, "image": with_it})):
        result = replace_image(text, {"qcow2_url": None}, "tools.json")
        assert json.dumps(json.loads(result)) == json.dumps(document)
        start = next(place for place, (one, other) in enumerate(zip(text, result, strict=False)) if one != other)
        assert text.endswith(result[start:])  # one cut, and nothing else
        changed = replace_image(text, {**NEW, "qcow2_url": None}, "tools.json")
        assert changed == replace_image(result, NEW, "tools.json")
        assert replace_image(changed, {"qcow2_url": None}, "tools.json") == changed


@settings(max_examples=20)
@given(cases())
def test_where_a_bare_name_came_from_is_added_unasked(case: Case) -> None:
    result = replace_image(case.before, {"qcow2": "image.qcow2", "qcow2_url": OLD_URL}, "tools.json")
    image = json.loads(result)["image"]
    assert list(image) == [*json.loads(case.before)["image"], "qcow2_url"]
    assert (image["qcow2"], image["qcow2_url"]) == ("image.qcow2", OLD_URL)
    assert replace_image(case.before, {"qcow2_url": None}, "tools.json") == case.before


def lines(*image_lines: str, end: str = "\n") -> str:
    return end.join(["{", '    "image" : {', *image_lines, "    },", '    "tools" : {},', '    "operations" : []', "}"])


def test_bytes_of_an_ordinary_manifest() -> None:
    text = (
        '{\n  "tools": {"swift": "\\u0035.10"},\n  "image": {\n    "name": "toolsmith",\n    "tarball": "",\n'
        f'    "sha256": "",\n    "note": "größe \\/",\n    "qcow2": "{OLD_URL}",\n    "qcow2_sha256": "{"a" * 64}"\n'
        '  },\n  "operations": [ ]\n}'
    )
    assert replace_image(text, NEW, "tools.json") == (
        '{\n  "tools": {"swift": "\\u0035.10"},\n  "image": {\n    "name": '
        '"fountainkit-toolsmith-ubuntu-2204-v2026.11.23",\n    "tarball": "",\n    "sha256": "",\n'
        f'    "note": "größe \\/",\n    "qcow2": "{NEW["qcow2"]}",\n    "qcow2_sha256": "{"b" * 64}"\n'
        '  },\n  "operations": [ ]\n}'
    )


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_our_keys_are_added_as_the_last_member_is_indented(end: str) -> None:
    rows = [f'        "{key}" : {json.dumps(value)}' for key, value in IMAGE.items()]
    text = lines(f",{end}".join(rows), end=end)
    result = replace_image(text, NEW, "tools.json", add=True)
    added = result.split(end)[-6:-4]
    assert added == ['        "version" : "v2026.11.23",', '        "size" : 123456']
    assert result.count("\r") == (text.count("\r") + 2 if end == "\r\n" else 0)


def test_our_keys_fit_into_a_compact_manifest() -> None:
    document = {"image": IMAGE, "tools": {}, "operations": []}
    text = json.dumps(document, separators=(",", ":"))
    expected = json.dumps({**document, "image": {**IMAGE, **NEW}}, separators=(",", ":"))
    assert replace_image(text, NEW, "tools.json", add=True) == expected


def test_our_keys_are_not_added_unless_asked_for() -> None:
    text = json.dumps({"image": IMAGE, "tools": {}, "operations": []})
    assert set(json.loads(replace_image(text, NEW, "tools.json"))["image"]) == set(IMAGE)


def test_a_key_spelt_with_escapes_is_the_same_key() -> None:
    text = json.dumps({"image": IMAGE, "tools": {}, "operations": []})
    text = text.replace('"image"', '"im\\u0061ge"').replace('"qcow2"', '"qco\\u00772"')
    result = replace_image(text, NEW, "tools.json")
    assert '"qco\\u00772": "' in result
    assert json.loads(result)["image"]["qcow2"] == NEW["qcow2"]


@pytest.mark.parametrize("former", [{}, {"name": "", "qcow2": "", "qcow2_sha256": ""}], ids=["today's", "the former"])
def test_the_first_manifest_becomes_a_published_one(former: dict[str, str]) -> None:
    text = json.dumps({"image": IMAGE | NO_IMAGE | former, "tools": {}, "operations": []}, indent=2) + "\n"
    assert not is_published(read_manifest(text.encode(), "tools.json")["image"])
    result = replace_image(text, NEW, "tools.json")
    assert is_published(read_manifest(result.encode(), "tools.json")["image"])
    assert sum(one != other for one, other in zip(text.splitlines(), result.splitlines(), strict=True)) == len(NEW)


def test_what_is_no_manifest_is_refused(subtests: pytest.Subtests) -> None:
    for text in [
        "",
        "{}",
        "\ufeff" + json.dumps({"image": IMAGE, "tools": {}, "operations": []}),
        json.dumps({"image": IMAGE, "tools": {}}),
        json.dumps({"image": IMAGE | {"qcow2_sha256": "A" * 64}, "tools": {}, "operations": []}),
        json.dumps({"image": IMAGE, "tools": {}, "operations": []})[:-1],
        json.dumps({"image": IMAGE, "tools": {}, "operations": []}).replace('"tools"', '"image"'),
        json.dumps({"image": IMAGE, "tools": {"x": "\ud800"}, "operations": []}),
        json.dumps({"image": IMAGE, "tools": {"x": "\ud800"}, "operations": []}, ensure_ascii=False),
    ]:
        with subtests.test(text=text), pytest.raises(InputError, match=r"^\.toolsmith/tools\.json is not a manifest"):
            replace_image(text, NEW, ".toolsmith/tools.json")


def test_an_edit_that_would_spoil_the_manifest_is_refused(subtests: pytest.Subtests) -> None:
    cases: list[Fields] = [
        {"qcow2_sha256": "B" * 64},
        {"qcow2": "../image.qcow2"},
        {"name": "a/b"},
        {"size": 0},
        {"version": "latest"},
    ]
    for fields in cases:
        with subtests.test(fields=fields):
            text = json.dumps({"image": IMAGE, "tools": {}, "operations": []})
            with pytest.raises(InputError, match=r"^tools\.json is not a manifest"):
                replace_image(text, fields, "tools.json", add=True)


def test_only_fields_of_the_image_can_be_named() -> None:
    with pytest.raises(ValueError, match="note"):
        replace_image("{}", {"note": "x"}, "tools.json")
