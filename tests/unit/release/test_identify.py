import pytest

from ci.records.release import AssetRecord, ReleaseRecord
from ci.release.identify import Identified, Unidentified, files_of, identify, later, rows
from tests.support.release_records import NAME
from tests.unit.release.test_notes import ENSURE_VM, TAG, asset, make_image, make_record

OLDER = "v2026.11.01"
STEM = f"{NAME}-{TAG}"


def known(tag: str = TAG, *files: AssetRecord) -> ReleaseRecord:
    image = make_image()
    if files:
        image = make_image(qcow2=files[0], assets=list(files))
    return make_record(tag=tag, image=image)


def file(name: str, digest: str) -> Unidentified:
    return Unidentified(given=f"folder/{name}", sha256=digest, name=name, size=7)


def older(name: str, digest: str) -> AssetRecord:
    return AssetRecord(name=name, sha256=digest, size=7, url=f"https://example.org/{name}")


def what(found: Identified | None) -> tuple[str, str, bool | None] | None:
    return None if found is None else (found.record.tag, found.file.name, found.intact)


def test_a_file_is_known_by_its_digest_whatever_it_is_called() -> None:
    assert what(identify(file("renamed", "1" * 64), [known()])) == (TAG, f"{STEM}.qcow2", True)


def test_the_record_itself_is_a_file_too() -> None:
    own = files_of(known())[-1]
    assert what(identify(file("x.json", own.sha256), [known()])) == (TAG, "release.json", True)
    assert own.url == ENSURE_VM.url.replace("ensure-vm.pyz", "release.json")


def test_a_digest_alone_says_nothing_about_bytes() -> None:
    assert what(identify(Unidentified(given="x", sha256="1" * 64), [known()])) == (TAG, f"{STEM}.qcow2", None)


def test_a_file_that_several_releases_have_is_of_the_newest_and_the_others_are_named() -> None:
    found = identify(file("ensure-vm.pyz", ENSURE_VM.sha256), [known(OLDER, older("x", "5" * 64)), known()])
    assert what(found) == (TAG, "ensure-vm.pyz", True)
    assert found is not None
    assert found.also == (OLDER,)


def test_among_those_the_one_whose_name_it_has_comes_first() -> None:
    name = f"{NAME}-{OLDER}.qcow2"
    found = identify(file(name, "1" * 64), [known(), known(OLDER, older(name, "1" * 64))])
    assert what(found) == (OLDER, name, True)


@pytest.mark.parametrize(("signed", "words"), [(True, "not checked here"), (False, "where it was built is unproven")])
def test_an_attestation_that_a_record_speaks_of_is_not_said_to_be_there(*, signed: bool, words: str) -> None:
    record = known() if signed else make_record(tag=TAG, image=make_image(attestation=None))
    found = identify(file("renamed", record.image.qcow2.sha256), [record])
    assert found is not None
    (told,) = [row[1] for row in rows(file("renamed", "1" * 64), found, None, None) if row[0] == "attestation"]
    assert "says the record" in told
    assert words in told


def test_other_bytes_under_a_published_name_are_not_intact() -> None:
    assert what(identify(file(f"{STEM}.qcow2", "9" * 64), [known()])) == (TAG, f"{STEM}.qcow2", False)


@pytest.mark.parametrize("name", ["ensure-vm.pyz", "release.json", "other.qcow2", f"x{STEM}.qcow2"])
def test_a_name_that_is_not_of_one_release_claims_nothing(name: str) -> None:
    assert identify(file(name, "9" * 64), [known()]) is None


def test_the_image_is_the_one_whose_file_it_is() -> None:
    other = make_image(name="other", qcow2=asset(".other", "7"), assets=[asset(".other", "7")])
    both = known().model_copy(update={"others": [other]})
    assert (found := identify(file("x", "7" * 64), [both])) is not None
    assert found.image.name == "other"
    assert (found := identify(file("x", ENSURE_VM.sha256), [both])) is not None
    assert found.image.name == NAME


@pytest.mark.parametrize(("tags", "newer"), [([], None), ([OLDER, TAG], None), ([f"{TAG}.1", OLDER], f"{TAG}.1")])
def test_what_came_after_is_the_newest_that_is_newer(tags: list[str], newer: str | None) -> None:
    assert later(TAG, tags) == newer
