import json
from pathlib import Path

import pytest

from ci.host.errors import InputError
from ci.records.release import AssetRecord
from ci.release.origin import Kind, KnownRecord, Origin, Subject, find, read_folder, read_known
from tests.support.release_records import NAME
from tests.unit.release.test_notes import ENSURE_VM, TAG, asset, make_image, make_record

OLDER = "v2026.11.01"
STEM = f"{NAME}-{TAG}"


def known(tag: str = TAG, *files: AssetRecord, sha256: str = "c" * 64) -> KnownRecord:
    image = make_image()
    if files:
        image = make_image(qcow2=files[0], assets=list(files))
    return KnownRecord(record=make_record(tag=tag, image=image), sha256=sha256, size=9, where=f"releases/{tag}.json")


def file(name: str, digest: str) -> Subject:
    return Subject(kind=Kind.FILE, given=f"folder/{name}", sha256=digest, name=name, size=7)


def older(name: str, digest: str) -> AssetRecord:
    return AssetRecord(name=name, sha256=digest, size=7, url=f"https://example.org/{name}")


def what(origin: Origin | None) -> tuple[str, str, bool | None] | None:
    if origin is None:
        return None
    return origin.known.record.tag, origin.file.name if origin.file else "", origin.intact


def test_a_file_is_known_by_its_digest_whatever_it_is_called() -> None:
    assert what(find(file("renamed", "1" * 64), [known()])) == (TAG, f"{STEM}.qcow2", True)


def test_the_record_itself_is_a_file_too() -> None:
    assert what(find(file("x.json", "c" * 64), [known()])) == (TAG, "release.json", True)


def test_a_digest_alone_says_nothing_about_bytes() -> None:
    assert what(find(Subject(kind=Kind.DIGEST, given="x", sha256="1" * 64), [known()])) == (
        TAG, f"{STEM}.qcow2", None,
    )  # fmt: skip


def test_a_tag_is_of_one_release() -> None:
    records = [known(), known(OLDER, older("x", "5" * 64))]
    assert what(find(Subject(kind=Kind.TAG, given=OLDER, tag=OLDER), records)) == (OLDER, "", None)
    assert find(Subject(kind=Kind.TAG, given="v2026.11.02", tag="v2026.11.02"), records) is None


def test_a_file_that_several_releases_have_is_of_the_newest_and_the_others_are_named() -> None:
    origin = find(file("ensure-vm.pyz", ENSURE_VM.sha256), [known(OLDER, older("x", "5" * 64)), known()])
    assert what(origin) == (TAG, "ensure-vm.pyz", True)
    assert origin is not None
    assert origin.also == (OLDER,)


def test_among_those_the_one_whose_name_it_has_comes_first() -> None:
    name = f"{NAME}-{OLDER}.qcow2"
    origin = find(file(name, "1" * 64), [known(), known(OLDER, older(name, "1" * 64))])
    assert what(origin) == (OLDER, name, True)


def test_other_bytes_under_a_published_name_are_not_intact() -> None:
    assert what(find(file(f"{STEM}.qcow2", "9" * 64), [known()])) == (TAG, f"{STEM}.qcow2", False)


@pytest.mark.parametrize("name", ["ensure-vm.pyz", "release.json", "other.qcow2", f"x{STEM}.qcow2"])
def test_a_name_that_is_not_of_one_release_claims_nothing(name: str) -> None:
    assert find(file(name, "9" * 64), [known()]) is None


def test_the_image_is_the_one_whose_file_it_is() -> None:
    other = make_image(name="other", qcow2=asset(".other", "7"), assets=[asset(".other", "7")])
    record = known().record.model_copy(update={"others": [other]})
    both = KnownRecord(record=record, sha256="c" * 64, size=9, where="x")
    assert (origin := find(file("x", "7" * 64), [both])) is not None
    assert origin.image.name == "other"
    assert (origin := find(file("x", ENSURE_VM.sha256), [both])) is not None
    assert origin.image.name == NAME


def test_the_records_of_a_folder_are_read_and_those_that_cannot_be_are_told(tmp_path: Path) -> None:
    text = make_record().to_json()
    (tmp_path / f"{TAG}.json").write_text(text)
    (tmp_path / f"{TAG}.md").write_text("a page")
    (tmp_path / "release.schema.json").write_text("{}")
    (tmp_path / "v2026.11.24.json").write_text(text)
    (tmp_path / "v2026.11.25.json").write_text(json.dumps({"schema": "fountainkit-toolsmith-image/release/2"}))
    (tmp_path / "v2026.11.26.json").write_text("[" * 100_000)
    found, problems = read_folder(tmp_path)
    assert [one.record.tag for one in found] == [TAG]
    said = [problem.message for problem in problems]
    assert [name in message for name, message in zip(("24", "25", "26"), said, strict=True)] == [True] * 3
    assert f"is the record of {TAG}" in said[0]
    assert "is a record of schema 'fountainkit-toolsmith-image/release/2'" in said[1]
    assert "is not a ReleaseRecord" in said[2]


def test_a_folder_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert read_folder(tmp_path / "none") == ([], [])


@pytest.mark.parametrize("tag", ["latest", "../v2026.11.23", ""])
def test_a_record_of_no_version_is_refused(tag: str) -> None:
    with pytest.raises(InputError, match="is not a version"):
        read_known(make_record(tag=tag).to_json().encode(), "a test")
