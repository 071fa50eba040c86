import json
from pathlib import Path
from typing import Any

import pytest

from ci.catalogue import reading
from ci.catalogue.reading import read_releases
from ci.host.errors import InputError
from tests.support.release_records import make_image, make_record, make_records, write

TAG = "v2026.11.23"
Json = dict[str, Any]


def spoil(folder: Path, **changes: object) -> Path:
    """A record of which some keys, given by their path with `__`, have other values."""
    path = write(folder, make_record(TAG)) / f"{TAG}.json"
    document = json.loads(path.read_text())
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(document))
    return path


def test_records_come_newest_first_and_what_lies_beside_them_is_passed_over(tmp_path: Path) -> None:
    tags = ["v2026.11.16", "v2026.11.16.2", "v2026.11.16.10", "v2026.11.23"]
    write(tmp_path, *make_records(*tags))
    (tmp_path / "README.md").write_text("words\n")
    (tmp_path / "v2026.11.16.md").write_text("words\n")
    (tmp_path / "release.schema.json").write_text("{}\n")
    assert [record.tag for record in read_releases(tmp_path)] == tags[::-1]


def test_a_folder_without_records_has_no_release(tmp_path: Path) -> None:
    assert read_releases(tmp_path) == ()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        read_releases(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": "fountainkit-toolsmith-image/release/99"}, "release/99"),
        ({"surprise": 1}, "ReleaseRecord"),
        ({"image__qcow2__sha256": "0"}, "ReleaseRecord"),
        ({"tag": "v2026.11.22"}, "it is the record of 'v2026.11.22'"),
        ({"image__built_at": "2026-11-23T00:00:00"}, "without a time zone"),
        ({"image__qcow2__size": 0}, "qcow2"),
        ({"image__qcow2__size": -1}, "impossible size"),
        ({"image__qcow2__size": 1 << 60}, "impossible size"),
        ({"image__validation__ssh_seconds": {"full": -1.0}}, "impossible time"),
        ({"image__validation__ssh_seconds": {"full": float("nan")}}, "is not a number in JSON"),
        ({"image__validation__ssh_seconds": {"full": float("inf")}}, "is not a number in JSON"),
        ({"image__name": "../outside"}, "name: it is not the name of a folder"),
        ({"image__qcow2__url": "javascript:alert(1)"}, "the scheme is none of"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_record_that_cannot_be_shown_is_named(tmp_path: Path, changes: Json, problem: str) -> None:
    path = spoil(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_releases(tmp_path)
    assert str(path) in caught.value.message
    assert problem in caught.value.message
    assert caught.value.hint


def test_another_image_of_the_release_is_looked_at_too(tmp_path: Path) -> None:
    record = make_record(TAG, others=[make_image(TAG, times={"full": -1.0})])
    with pytest.raises(InputError, match="impossible time"):
        read_releases(write(tmp_path, record))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"tag": "v2026.11.23"}', "\xff"])
def test_what_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / f"{TAG}.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=f"{TAG}.json"):
        read_releases(tmp_path)


def test_a_name_that_is_no_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v2026.13.45.json").write_text("{}")
    with pytest.raises(InputError, match=r"v2026\.13\.45\.json cannot be shown"):
        read_releases(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, make_record(TAG))
    (tmp_path / f"{TAG}.json").symlink_to(elsewhere / f"{TAG}.json")
    with pytest.raises(InputError, match="not a plain file"):
        read_releases(tmp_path)


def test_a_record_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, make_record(TAG))
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="more than 100"):
        read_releases(tmp_path)
