import json
from pathlib import Path
from typing import Any

import pytest

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
        ({"tag": "v2026.11.22"}, "the record of v2026.11.23 speaks of v2026.11.22"),
        ({"image__built_at": "2026-11-23T00:00:00"}, "image.built_at"),
        ({"image__qcow2__size": 0}, "its image cannot be that of a manifest"),
        ({"image__qcow2__size": -1}, "image.qcow2.size"),
        ({"image__qcow2__size": 1 << 60}, "image.qcow2.size"),
        ({"image__validation__ssh_seconds": {"full": -1.0}}, "image.validation.ssh_seconds.full"),
        ({"image__validation__ssh_seconds": {"full": float("nan")}}, "is not a number in JSON"),
        ({"image__validation__ssh_seconds": {"full": float("inf")}}, "is not a number in JSON"),
        ({"image__name": "../outside"}, "name: it is not the name of a folder"),
        ({"image__qcow2__url": "javascript:alert(1)"}, "image.qcow2.url"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_record_that_cannot_be_shown_is_named(tmp_path: Path, changes: Json, problem: str) -> None:
    path = spoil(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_releases(tmp_path)
    assert str(path) in caught.value.message
    assert problem in f"{caught.value.message}\n{caught.value.details}"
    assert caught.value.hint


def test_another_image_of_the_release_is_looked_at_too(tmp_path: Path) -> None:
    impossible = make_image(TAG).validation.model_copy(update={"ssh_seconds": {"full": -1.0}})
    record = make_record(TAG, others=[make_image(TAG, validation=impossible)])
    with pytest.raises(InputError) as caught:
        read_releases(write(tmp_path, record))
    assert "others.0.validation.ssh_seconds.full" in caught.value.details


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"tag": "v2026.11.23"}', "\xff"])
def test_what_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / f"{TAG}.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=f"{TAG}.json"):
        read_releases(tmp_path)


def test_a_name_that_is_no_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v2026.13.45.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot be shown: .*v2026\.13\.45\.json"):
        read_releases(tmp_path)
