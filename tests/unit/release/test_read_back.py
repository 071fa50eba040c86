import hashlib
from typing import Any

import pytest

from ci.github.answers import Asset, Release
from ci.github.client import GitHub
from ci.github.context import Context
from ci.host.errors import RefusedError, UnprovenError, VerificationError
from ci.records import artifacts
from ci.records.release import ReleaseRecord
from ci.records.version import Version
from ci.release.read_back import (
    PublishedRelease,
    newest_release,
    read_file,
    read_published,
    read_record,
    require_unchanged,
)
from tests.support.answers import asset, local, release
from tests.support.release_records import REPOSITORY, SITE, make_asset, make_record
from tests.support.releasing import TAG

DAY = Version.parse(TAG)


def test_the_highest_lower_version_comes_before_in_whatever_order_they_were_made() -> None:
    there = [release("v2026.11.22"), release("v2026.11.24"), release("v2026.11.22.1"), release("v2025.12.31")]
    found = newest_release(there, below=DAY)
    assert found is not None
    assert found.tag_name == "v2026.11.22.1"


@pytest.mark.parametrize(
    "there",
    [[], [release(TAG)], [release("v2026.11.24")], [release("v2026.11.22", draft=True)], [release("nightly")]],
    ids=["nothing", "itself", "newer", "draft", "no version"],
)
def test_a_release_before_which_nothing_came_is_the_first(there: list[Release]) -> None:
    assert newest_release(there, below=DAY) is None


def test_the_newest_is_the_published_one_with_the_highest_version() -> None:
    newer = release("v2026.11.24")
    assert newest_release([release(TAG), newer, release("v2026.11.22"), release("nightly")]) == newer
    assert newest_release([release("v2026.11.25", draft=True), newer]) == newer
    assert newest_release([release("v2026.11.25", prerelease=True), newer]) == newer
    assert newest_release([]) is None


FORMER = "former/name"
GONE = "former-owner/name"


class There(GitHub):
    """A GitHub whose release has a record of these bytes, and assets as the record `of` says."""

    def __init__(self, data: bytes, of: ReleaseRecord, **changes: Any) -> None:  # noqa: ANN401 - of a release
        self.context = Context(
            api_url="https://api.github.com", server_url="https://github.com", repository=REPOSITORY, commit=None,
            token=None,
        )  # fmt: skip
        own = asset(local(artifacts.RELEASE, data))
        files = [
            asset(local(one.name), id=number, size=one.size, digest=f"sha256:{one.sha256}")
            for number, one in enumerate(of.assets, start=2)
        ]
        self.there: Release | None = release(**({"assets": [own, *files]} | changes))
        self.data = data
        self.tagged: str | None = of.commit

    def published_release(self, tag: str) -> Release | None:
        assert tag == TAG
        return self.there

    def download(self, asset: Asset) -> bytes:
        assert asset.name
        return self.data

    def tag_commit(self, tag: str) -> str | None:
        assert tag == TAG
        return self.tagged

    def is_called(self, name: str) -> bool | None:
        return None if name == GONE else name in {REPOSITORY, FORMER}


RECORD = make_record(TAG)


def there(record: ReleaseRecord = RECORD, **changes: Any) -> There:  # noqa: ANN401 - of a release
    return There(record.to_json().encode(), record, **changes)


def read(github: GitHub) -> PublishedRelease:
    return read_published(github, TAG, lambda _data, _record: None)


def of(name: str, server: str = "https://github.com") -> ReleaseRecord:
    """The record as it is of another repository."""
    text = RECORD.to_json().replace(f"https://github.com/{REPOSITORY}/", f"{server}/{name}/").replace(REPOSITORY, name)
    return ReleaseRecord.model_validate_json(text)


def test_a_release_that_is_what_its_record_says_is_read() -> None:
    found = read(there())
    assert found.record == RECORD
    assert found.text == RECORD.to_json()


def test_who_is_to_vouch_is_shown_the_bytes_before_anything_else_is_compared() -> None:
    asked: list[tuple[bytes, ReleaseRecord]] = []

    def vouch(data: bytes, record: ReleaseRecord) -> None:
        asked.append((data, record))
        raise VerificationError("no")

    github = there()
    github.tagged = "0" * 40
    with pytest.raises(VerificationError, match=r"^no$"):
        read_published(github, TAG, vouch)
    assert asked == [(RECORD.to_json().encode(), RECORD)]


@pytest.mark.parametrize(
    "record",
    [RECORD.model_copy(update={"tag": "v2026.11.22"}), of("somebody/else"), of(REPOSITORY, "https://evil.org")],
)
def test_a_record_of_something_else_is_refused(record: ReleaseRecord) -> None:
    with pytest.raises(VerificationError, match="speaks of"):
        read(there(record))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"{SITE}/releases/download/{TAG}/{RECORD.image.qcow2.name}", "https://evil.org/x.qcow2"),
        (f"{SITE}/releases/download/{TAG}/{RECORD.image.qcow2.name}", "javascript:alert(1)"),
        (f"/releases/download/{TAG}/{RECORD.ensure_vm.name}", "/releases/download/v2026.11.22/ensure-vm.pyz"),
        (f'"size": {RECORD.image.qcow2.size}', '"size": -5'),
        (f'"commit": "{RECORD.commit}"', '"commit": "main"'),
    ],
)
def test_a_record_with_another_address_or_an_impossible_size_is_none(old: str, new: str) -> None:
    text = RECORD.to_json()
    assert old in text
    with pytest.raises(VerificationError):
        read(There(text.replace(old, new).encode(), RECORD))


def test_after_a_renaming_the_record_is_the_same_and_its_addresses_are_todays() -> None:
    github = there(of(FORMER))
    found = read(github)
    assert found.at_home(github.context) == RECORD
    assert found.text == found.record.to_json() == of(FORMER).to_json()


def test_a_record_with_a_name_that_leads_nowhere_today_is_unproven_and_not_wrong() -> None:
    """As after a transfer, once the former owner's account was renamed or deleted."""
    record = of(GONE)
    with pytest.raises(UnprovenError, match=f"speaks of {GONE}, and that name leads nowhere") as caught:
        read(there(record))
    assert caught.value.hint
    with pytest.raises(UnprovenError):
        read_record(there(record), release(assets=[asset(local(artifacts.RELEASE))]))


def test_a_release_that_a_person_marked_as_a_pre_release_is_read_only_for_who_says_so() -> None:
    with pytest.raises(RefusedError, match="marked as a pre-release") as caught:
        read(there(prerelease=True))
    assert "--reopen" in caught.value.hint
    found = read_published(there(prerelease=True), TAG, lambda _data, _record: None, prerelease=True)
    require_unchanged(there(prerelease=True), found)
    with pytest.raises(RefusedError, match="marked as a pre-release"):
        require_unchanged(there(prerelease=True), read(there()))


def test_an_older_release_may_be_of_a_former_name() -> None:
    record = of(FORMER)
    assert read_record(there(record), release(assets=[asset(local(artifacts.RELEASE))])) == record


@pytest.mark.parametrize("tagged", [None, "0" * 40])
def test_a_tag_that_was_moved_or_deleted_is_refused(tagged: str | None) -> None:
    github = there()
    before = read(github)
    github.tagged = tagged
    for look in (lambda: read(github), lambda: require_unchanged(github, before)):
        with pytest.raises(VerificationError, match=f"its release was made of {RECORD.commit}"):
            look()


@pytest.mark.parametrize(
    "change",
    [
        {"id": 8},
        {"assets": []},
        {"assets": [asset(local(artifacts.RELEASE, b"another"))]},
    ],
)
def test_a_release_that_is_another_one_now_is_noticed(change: dict[str, Any]) -> None:
    github = there()
    before = read(github)
    require_unchanged(github, before)
    github.there = before.release.model_copy(update=change)
    with pytest.raises(VerificationError, match="changed while it was rolled out"):
        require_unchanged(github, before)
    github.there = None
    with pytest.raises(RefusedError, match="is not published"):
        require_unchanged(github, before)


def test_notes_that_a_person_writes_meanwhile_are_no_change() -> None:
    github = there()
    before = read(github)
    github.there = before.release.model_copy(update={"body": "Look at the kernel."})
    require_unchanged(github, before)


def test_what_is_no_record_cannot_be_used() -> None:
    with pytest.raises(VerificationError, match="is not a release record"):
        read(There(b"{}", RECORD))


@pytest.mark.parametrize("draft", [True, False])
def test_a_release_that_is_not_there_is_no_release(*, draft: bool) -> None:
    github = there(draft=True)
    github.there = github.there if draft else None
    with pytest.raises(RefusedError, match="is not published"):
        read(github)


def test_a_file_must_be_there_and_be_the_recorded_one() -> None:
    github = There(b"data", RECORD)
    expected = make_asset(TAG, ".packages.tsv", "2", 4)
    with pytest.raises(VerificationError, match="has no"):
        read_file(github, release(), expected)
    holding = release(assets=[asset(local(expected.name))])
    with pytest.raises(VerificationError, match="is not what was released"):
        read_file(github, holding, expected)
    right = expected.model_copy(update={"sha256": hashlib.sha256(b"data").hexdigest()})
    assert read_file(github, holding, right) == b"data"


@pytest.mark.parametrize("other", [of("evil/image"), of(REPOSITORY, server="https://evil.example")])
def test_a_record_that_is_not_of_this_repository_is_read_for_nothing(other: ReleaseRecord) -> None:
    """Else its addresses would come into the notes and the record of the next release."""
    with pytest.raises(VerificationError, match="is not of"):
        read_record(there(other), release(assets=[asset(local(artifacts.RELEASE))]))
