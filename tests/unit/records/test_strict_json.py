import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.records.strict_json import MAX_DIGITS, parse_json

REFUSED = {
    b"": "Expecting value",
    b"\xef\xbb\xbf{}": "byte order mark",
    "{}".encode("utf-16"): "byte 0 is not UTF-8",
    b'{"image": "\xff"}': "byte 11 is not UTF-8",
    b'{"image": {}, "image": {}}': "the key image comes twice",
    b'{"a": {"b": [{"c\\n": 1, "c\\u000a": 2}]}}': r"the key 'c\\n' comes twice",
    b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}": "nested too deeply",
    b"[" * 900_000: "nested too deeply",
    b'{"a":' * 100_000: "nested too deeply",
    b'{"a": NaN}': "NaN is not a number",
    b'{"a": -Infinity}': "-Infinity is not a number",
    b'{"a": 1e999}': "too large a number",
    b'{"a": ' + b"9" * 5000 + b"}": "above the limit",
    b'{"a": "\\ud800"}': "half of a surrogate pair",
    b'{"\\udc00": 1}': "half of a surrogate pair",
    b'{"a": 1} x': "Extra data",
    b"{'a': 1}": "Expecting property name",
    b'{"a": 1,}': "trailing comma|property name",
    b'{"a": 1': "not JSON, or was cut off",
    b"\0" * 1000: "not JSON, or was cut off",
}


def test_what_two_readers_could_take_for_two_things_is_refused() -> None:
    for data, problem in REFUSED.items():
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are compared below
            parse_json(data)
        assert re.search(problem, str(caught.value)), data[:80]


def test_a_hostile_key_is_named_in_ascii_and_cut() -> None:
    key = "\u202e" + "x" * 1000
    with pytest.raises(ValueError, match="comes twice") as caught:
        parse_json(f'{{"{key}": 1, "{key}": 2}}'.encode())
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 200


numbers = st.integers(-(10 ** (MAX_DIGITS - 1)), 10 ** (MAX_DIGITS - 1)) | st.floats(
    allow_nan=False, allow_infinity=False
)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=20,
)


@given(values, st.booleans())
def test_everything_else_is_read_as_python_reads_it(value: object, ascii_only: bool) -> None:  # noqa: FBT001 - hypothesis draws it
    assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
