import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ci.catalogue import view
from ci.records.manifest import ManifestImage
from ci.records.release import ReleaseFacts
from tests.support.release_records import NAME, SITE, make_changes, make_image, make_record, make_records, package

TAGS = ("v2026.11.09", "v2026.11.16", "v2026.11.23")


def test_only_the_first_is_the_latest() -> None:
    assert [(one.tag, one.latest) for one in view.releases(make_records(*TAGS))] == [
        ("v2026.11.23", True),
        ("v2026.11.16", False),
        ("v2026.11.09", False),
    ]


def test_a_release_knows_what_changed_since_the_one_before() -> None:
    newest, _, oldest = view.releases(make_records(*TAGS))
    assert (newest.previous, newest.image.size_change) == ("v2026.11.16", "+1.0 MB")
    assert newest.changes is not None
    assert newest.changes.counts == ("1 upgraded", "1 added")
    assert [(row.what, row.name, row.old, row.new) for row in newest.changes.rows] == [
        ("added", "git", "", "1:2.34.1-1"),
        ("upgraded", "curl", "7.81.0-1", "7.81.0-2"),
    ]
    assert (oldest.previous, oldest.changes, oldest.image.size_change) == (None, None, None)


def test_sizes_of_different_images_are_not_compared() -> None:
    facts = ReleaseFacts.of(make_record("v2026.11.16")).model_copy(update={"name": "another"})
    (release,) = view.releases([make_record(previous=facts)])
    assert release.image.size_change is None


def test_a_long_list_of_packages_is_cut_and_the_rest_counted() -> None:
    added = tuple(package(f"p{number}", "1") for number in range(view.MOST_PACKAGES + 7))
    (release,) = view.releases([make_record(changes=make_changes(added=added))])
    assert release.changes is not None
    assert (len(release.changes.rows), release.changes.more) == (view.MOST_PACKAGES, 8)
    assert f"{len(added)} added" in release.changes.counts


@pytest.mark.parametrize(
    ("times", "boot"),
    [({"full": 5.0, "consumer": 7.0}, "consumer"), ({"full": 5.0, "clone": 4.0}, "full"), ({"z": 1.0, "b": 2.0}, "b")],
)
def test_the_boot_that_is_shown_is_the_consumers_where_there_is_one(times: dict[str, float], boot: str) -> None:
    (release,) = view.releases([make_record(image=make_image("v2026.11.23", times=times))])
    assert release.image.boot is not None
    assert (release.image.boot.name, release.image.boot.seconds) == (boot, times[boot])


def test_a_release_without_a_measured_boot_says_so() -> None:
    (release,) = view.releases([make_record(image=make_image("v2026.11.23", times={}))])
    assert release.image.boot is None


@pytest.mark.parametrize(
    ("accelerator", "how", "emulated"), [("kvm", "with KVM", False), ("tcg", "without KVM", True), ("x", "x", True)]
)
def test_how_it_booted_is_said(accelerator: str, how: str, *, emulated: bool) -> None:
    boot = view.Boot(name="full", seconds=1.0, accelerator=accelerator)
    assert (boot.how, boot.emulated) == (how, emulated)


def test_times_are_shown_in_utc() -> None:
    built_at = datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2)))
    (release,) = view.releases([make_record(image=make_image("v2026.11.23", built_at=built_at))])
    assert release.built_at == datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert release.built_at.tzinfo is UTC


def test_the_commits_page_is_beside_the_releases() -> None:
    record = make_record()
    (release,) = view.releases([record])
    assert release.commit_link == f"{SITE}/commit/{record.commit}"
    (elsewhere,) = view.releases([make_record(url="https://example.org/x")])
    assert elsewhere.commit_link is None


def test_the_snippet_is_the_image_of_a_manifest() -> None:
    record = make_record()
    (release,) = view.releases([record])
    document = json.loads(release.snippet)
    assert list(document) == ["image"]
    image = ManifestImage.model_validate(document["image"])
    qcow2 = record.image.qcow2
    assert (image.name, image.qcow2, image.qcow2_sha256) == (NAME, qcow2.url, qcow2.sha256)
    assert (image.version, image.size, image.tarball, image.sha256) == (record.tag, qcow2.size, "", "")
