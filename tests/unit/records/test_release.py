import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from ci.host.errors import InputError
from ci.records.build import BaseImageRecord, BuildRecord, Verification
from ci.records.published import parse_release
from ci.records.record import parse_record
from ci.records.release import SCHEMA_PATH, AssetRecord, ReleaseRecord, schema_text
from tests.unit.release.test_notes import make_record

VALIDATOR = Draft202012Validator(json.loads(schema_text()), format_checker=Draft202012Validator.FORMAT_CHECKER)


def document(**changes: object) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(make_record().to_json()) | changes
    return result


def test_the_published_schema_is_that_of_the_record() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text()


def objects(schema: object) -> Iterator[dict[str, Any]]:
    """Every part of the schema that describes an object with keys of its own."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


# What releases of before it existed do not have.
LATER = {"snippet", "largest", "start"}


def test_it_allows_no_key_that_is_not_named_and_misses_each_that_is() -> None:
    found = list(objects(json.loads(schema_text())))
    assert len(found) > 8
    for one in found:
        assert one["additionalProperties"] is False
        assert set(one["required"]) == set(one["properties"]) - LATER, one["title"]


def test_a_record_is_valid_by_it_and_is_read_as_it_was_written() -> None:
    assert list(VALIDATOR.iter_errors(document())) == []
    assert parse_record(json.dumps(document()).encode(), ReleaseRecord, "a test") == make_record()


def test_what_is_no_record_is_none_by_the_schema_and_by_the_model(subtests: pytest.Subtests) -> None:
    cases: list[dict[str, Any]] = [
        {"further": 1},
        {"tag": 1},
        {"schema": "fountainkit-toolsmith-image/release/2"},
        {"image": {}},
        {"changes": {"added": [{"name": "x", "version": "1", "architecture": "all", "installed_kib": 1, "more": 1}]}},
        {"ensure_vm": {"name": "../x", "sha256": "0" * 64, "size": 1, "url": "https://x"}},
        {"ensure_vm": {"name": "x", "sha256": "0" * 63, "size": 1, "url": "https://x"}},
        {"ensure_vm": {"name": "x", "sha256": "0" * 64, "size": 1, "url": "file:///etc/passwd"}},
        {"ensure_vm": {"name": "x", "sha256": "0" * 64, "size": -1, "url": "https://x"}},
        {"ensure_vm": {"name": "x", "sha256": "0" * 64, "size": 1 << 60, "url": "https://x"}},
    ]
    for change in cases:
        with subtests.test(change=change):
            bad = document(**change)
            assert list(VALIDATOR.iter_errors(bad))
            with pytest.raises(InputError):
                parse_record(json.dumps(bad).encode(), ReleaseRecord, "a test")


def test_each_key_is_needed(subtests: pytest.Subtests) -> None:
    for key in document().keys() - LATER:
        with subtests.test(key=key):
            rest = {name: value for name, value in document().items() if name != key}
            assert list(VALIDATOR.iter_errors(rest))


def test_a_record_of_before_a_key_came_is_read() -> None:
    former = {name: value for name, value in document().items() if name not in LATER}
    assert list(VALIDATOR.iter_errors(former)) == []
    record = parse_release(json.dumps(former).encode(), "here")
    assert record.snippet is None
    assert record.assets[-1] == record.ensure_vm


def test_a_record_of_another_schema_is_said_to_be_one() -> None:
    later = json.dumps(document(schema="fountainkit-toolsmith-image/release/2")).encode()
    with pytest.raises(InputError, match=r"here is a record of schema '.*/2'; this version .* reads '.*/1'") as failure:
        parse_record(later, ReleaseRecord, "here")
    assert "commit that wrote it" in failure.value.hint


def test_a_record_in_which_a_key_comes_twice_is_none() -> None:
    text = make_record().to_json().replace("{\n", '{\n  "tag": "v2000.01.01",\n', 1)
    with pytest.raises(InputError, match="here is not a release record: the key tag comes twice"):
        parse_record(text.encode(), ReleaseRecord, "here")


def test_what_is_not_even_a_record_is_not_said_to_be_of_another_schema(subtests: pytest.Subtests) -> None:
    for data in [b"", b"{", b"[]", b'{"schema": 1}', b"\xff", b"[" * 100_000]:
        with subtests.test(data=data), pytest.raises(InputError, match="here is not a release record"):
            parse_record(data, ReleaseRecord, "here")


def test_a_file_is_never_named_so_that_it_could_lead_elsewhere(subtests: pytest.Subtests) -> None:
    for name in ["../x", "a/b", ".hidden", "", "-x", "a b", "x\n", "x" * 201]:
        with subtests.test(name=name), pytest.raises(ValidationError):
            AssetRecord(name=name, sha256="0" * 64, size=1, url="https://example.org")


def test_a_record_that_is_not_as_it_must_be_is_told_of_in_words_not_by_our_classes() -> None:
    with pytest.raises(InputError) as failure:
        parse_record(b'{"version": 1}', BuildRecord, "here")
    told = failure.value.message + failure.value.details
    assert "here is not a build record: " in told
    assert "BuildRecord" not in told
    assert "commit: Field required" in told


@pytest.mark.parametrize("verification", Verification)
def test_who_vouches_for_a_base_is_said_in_words(verification: Verification) -> None:
    base = BaseImageRecord(url="https://x", sha256="0" * 64, size=1, verification=verification, verified_by="THEM")
    assert verification.value not in base.vouched_for
    assert ("THEM" in base.vouched_for) == (verification is not Verification.NONE)
