import hashlib
from typing import Any

import pytest
from pytest_mock import MockerFixture

from ci.github.answers import Release
from ci.github.client import GitHub
from ci.host.errors import RefusedError, VerificationError
from ci.records import artifacts
from ci.records.version import Version
from ci.release.read_back import newest_release, read_file, read_published, read_record
from tests.support.answers import asset, local, release
from tests.support.release_records import REPOSITORY, make_asset, make_record
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
    assert newest_release([]) is None


def github(mocker: MockerFixture, data: bytes, **changes: Any) -> GitHub:  # noqa: ANN401 - the fields of Release
    """One that has a release, whose assets all have `data`."""
    record = make_record(TAG)
    own = asset(local(artifacts.RELEASE, data))
    files = [asset(local(one.name), size=one.size, digest=f"sha256:{one.sha256}") for one in record.assets]
    found = mocker.Mock(spec=GitHub)
    found.context = mocker.Mock(repository=REPOSITORY)
    found.published_release.return_value = release(assets=[own, *files], **changes)
    found.download.return_value = data
    return found  # type: ignore[no-any-return]


def test_a_release_that_is_what_its_record_says_is_read(mocker: MockerFixture) -> None:
    record = make_record(TAG)
    assert read_published(github(mocker, record.to_json().encode()), TAG) == record


@pytest.mark.parametrize("change", [{"tag": "v2026.11.22"}, {"repository": "somebody/else"}])
def test_a_record_of_something_else_is_refused(mocker: MockerFixture, change: dict[str, str]) -> None:
    with pytest.raises(VerificationError, match="speaks of"):
        read_published(github(mocker, make_record(TAG).model_copy(update=change).to_json().encode()), TAG)


def test_an_older_release_may_be_of_the_repositorys_former_name(mocker: MockerFixture) -> None:
    record = make_record(TAG, repository="former/name")
    there = github(mocker, record.to_json().encode())
    assert read_record(there, there.published_release(TAG) or release()) == record


def test_what_is_no_record_cannot_be_used(mocker: MockerFixture) -> None:
    with pytest.raises(VerificationError, match="is not a ReleaseRecord"):
        read_published(github(mocker, b"{}"), TAG)


def test_a_release_that_is_not_there_is_no_release(mocker: MockerFixture) -> None:
    there = mocker.Mock(spec=GitHub)
    there.published_release.return_value = None
    with pytest.raises(RefusedError, match="is not published"):
        read_published(there, TAG)


def test_a_file_must_be_there_and_be_the_recorded_one(mocker: MockerFixture) -> None:
    there = mocker.Mock(spec=GitHub)
    there.download.return_value = b"data"
    expected = make_asset(TAG, ".packages.tsv", "2", 4)
    with pytest.raises(VerificationError, match="has no"):
        read_file(there, release(), expected)
    holding = release(assets=[asset(local(expected.name))])
    with pytest.raises(VerificationError, match="is not what was released"):
        read_file(there, holding, expected)
    right = expected.model_copy(update={"sha256": hashlib.sha256(b"data").hexdigest()})
    assert read_file(there, holding, right) == b"data"
