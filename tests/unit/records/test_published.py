import json
from pathlib import Path

import pytest

from ci.host.errors import InputError, ToolsmithError, VerificationError
from ci.records import published
from ci.records.published import parse_published, parse_release, read_release, read_releases, require_bytes
from ci.records.release import ReleaseRecord
from tests.support.release_records import make_asset, make_record

TAG = "v2026.11.23"
TEXT = make_record(TAG).to_json()


def found(folder: Path) -> tuple[list[str], list[str]]:
    """The tags that were read, and what is wrong with the others."""
    records = list(read_releases(folder))
    return (
        [one.tag for one in records if isinstance(one, ReleaseRecord)],
        [one.message for one in records if isinstance(one, ToolsmithError)],
    )


def test_the_records_of_a_folder_are_read_newest_first_and_those_that_cannot_be_are_told(tmp_path: Path) -> None:
    for tag in (TAG, "v2026.11.22", "v2026.11.23.10", "v2026.11.23.2"):
        make_record(tag).write(tmp_path / f"{tag}.json")
    (tmp_path / f"{TAG}.md").write_text("a page")
    (tmp_path / "release.schema.json").write_text("{}")
    (tmp_path / "v2026.11.24.json").write_text(TEXT)
    (tmp_path / "v2026.11.25.json").write_text(json.dumps({"schema": "fountainkit-toolsmith-image/release/2"}))
    (tmp_path / "v2026.11.26.json").write_text("[" * 100_000)
    (tmp_path / "v2026.13.45.json").write_text(TEXT)
    tags, problems = found(tmp_path)
    assert tags == ["v2026.11.23.10", "v2026.11.23.2", TAG, "v2026.11.22"]
    words = ("not named as", "is not a release record", "schema 'fountainkit-toolsmith-image/release/2'", "speaks of")
    assert [word in problem for word, problem in zip(words, problems, strict=True)] == [True] * 4


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert found(tmp_path / "none") == ([], [])


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(TEXT)
    (tmp_path / f"{TAG}.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="not a plain file"):
        read_release(tmp_path / f"{TAG}.json")


def test_only_so_much_of_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "MAX_BYTES", 100)
    (tmp_path / f"{TAG}.json").write_text(TEXT)
    with pytest.raises(InputError, match="more than 100 bytes"):
        read_release(tmp_path / f"{TAG}.json")


@pytest.mark.parametrize("tag", ["latest", "../v2026.11.23", ""])
def test_a_record_of_no_version_is_refused(tag: str) -> None:
    data = make_record(TAG).model_copy(update={"tag": tag}).to_json().encode()
    with pytest.raises(InputError, match="is not a version"):
        parse_release(data, "a test")
    with pytest.raises(VerificationError, match="is not a version"):
        parse_published(data, "a test")


@pytest.mark.parametrize(("tag", "repository"), [("v2026.11.22", None), (None, "somebody/else")])
def test_a_record_of_another_release_is_refused(tag: str | None, repository: str | None) -> None:
    with pytest.raises(VerificationError, match=f"speaks of {TAG} in fountain/image"):
        parse_release(TEXT.encode(), "a test", tag=tag, repository=repository)


def test_github_writes_names_of_repositories_as_people_type_them() -> None:
    assert parse_release(TEXT.encode(), "a test", tag=TAG, repository="Fountain/Image").tag == TAG


def test_other_bytes_than_the_recorded_ones_are_refused() -> None:
    with pytest.raises(VerificationError, match="is not what was released"):
        require_bytes(b"x", make_asset(TAG, ".packages.tsv", "2", 1))
