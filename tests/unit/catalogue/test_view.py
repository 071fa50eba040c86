import shlex
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ci.catalogue import view
from ci.records.build import Verification
from ci.records.release import ReleaseFacts, SizePart
from tests.support.plain_svg import is_plain_svg
from tests.support.release_records import SITE, make_image, make_record, make_records
from tests.support.releasing import START

TAGS = ("v2026.11.09", "v2026.11.16", "v2026.11.23")


def test_a_release_knows_what_changed_since_the_one_before() -> None:
    newest, _, oldest = (view.ShownRelease(record=record) for record in make_records(*TAGS))
    assert newest.size_change == "+1.0 MB"
    assert newest.counts == ["1 upgraded", "1 added"]
    assert newest.packages == [
        ("added", "git", "", "1:2.34.1-1"),
        ("upgraded", "curl", "7.81.0-1", "7.81.0-2"),
    ]
    assert (oldest.counts, oldest.packages, oldest.size_change) == ([], [], None)


def test_sizes_of_different_images_are_not_compared() -> None:
    facts = ReleaseFacts.of(make_record("v2026.11.16")).model_copy(update={"name": "another"})
    release = view.ShownRelease(record=make_record(previous=facts))
    assert release.size_change is None


@pytest.mark.parametrize(
    ("times", "boot"),
    [({"full": 5.0, "consumer": 7.0}, "consumer"), ({"full": 5.0, "clone": 4.0}, "full"), ({"z": 1.0, "b": 2.0}, "b")],
)
def test_the_boot_that_is_shown_is_the_consumers_where_there_is_one(times: dict[str, float], boot: str) -> None:
    release = view.ShownRelease(record=make_record(image=make_image("v2026.11.23", times=times)))
    assert release.boot is not None
    assert (release.boot.name, release.boot.seconds) == (boot, times[boot])


def test_a_release_without_a_measured_boot_says_so() -> None:
    release = view.ShownRelease(record=make_record(image=make_image("v2026.11.23", times={})))
    assert release.boot is None


@pytest.mark.parametrize(
    ("accelerator", "how", "emulated"), [("kvm", "with KVM", False), ("tcg", "without KVM", True), ("x", "x", True)]
)
def test_how_it_booted_is_said(accelerator: str, how: str, *, emulated: bool) -> None:
    boot = view.ShownBoot(name="full", seconds=1.0, accelerator=accelerator)
    assert (boot.how, boot.emulated) == (how, emulated)


def test_times_are_shown_in_utc() -> None:
    built_at = datetime(2026, 11, 23, 1, tzinfo=timezone(timedelta(hours=2)))
    release = view.ShownRelease(record=make_record(image=make_image("v2026.11.23", built_at=built_at)))
    assert release.built_at == datetime(2026, 11, 22, 23, tzinfo=UTC)
    assert release.built_at.tzinfo is UTC


def test_the_commands_that_fetch_it_stop_at_the_first_that_fails_and_keep_any_name_whole() -> None:
    lines = view.ShownRelease(record=make_record()).fetch.split(" &&\n")
    tool = make_record().ensure_vm
    assert [shlex.split(line)[0] for line in lines] == ["curl", "echo", "python3"]
    assert tool.url in shlex.split(lines[0])
    assert shlex.split(lines[1])[1] == f"{tool.sha256}  {tool.name}"
    assert lines[2].endswith("--localize")


def test_the_pages_of_commit_and_attestations_are_beside_the_releases() -> None:
    record = make_record()
    release = view.ShownRelease(record=record)
    assert (release.commit_link, release.attestations_link) == (
        f"{SITE}/commit/{record.commit}",
        f"{SITE}/attestations",
    )
    elsewhere = view.ShownRelease(record=make_record(url="https://example.org/x"))
    assert (elsewhere.commit_link, elsewhere.attestations_link) == (None, None)


def test_every_way_to_vouch_for_a_base_has_words() -> None:
    assert set(view.VOUCHED_FOR) == set(Verification)


@pytest.mark.parametrize(
    "url",
    ["https://github.com/a/b/releases/tag/v1", "http://localhost:4010/a/b", "http://127.0.0.1/x", "https://a.example"],
)
def test_what_is_encrypted_or_on_this_machine_is_a_link(url: str) -> None:
    assert view.safe_link(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "", "http://github.com/a", "javascript:alert(1)", "data:text/html,x", "//github.com/a", "bootstrap:bookworm",
        "https://github.com@evil.example/", "https://github.com\\@evil.example/", "https:///path", "HTTPS://a.example/",
        "https://a.example/x y", 'https://a.example/"onclick', "https://a.example/\n", "https://[::1]/", "https://a:99999/",
        "http://localhost.evil.example/", "https://\u0430.example/",
    ],
)  # fmt: skip
def test_anything_else_is_only_shown(url: str) -> None:
    assert view.safe_link(url) is None


def test_where_time_and_bytes_went_is_shown_as_far_as_the_record_tells() -> None:
    record = make_record()
    assert view.ShownRelease(record=record).pictures == []
    validation = record.image.validation.model_copy(update={"start": START})
    told = record.image.model_copy(update={"validation": validation, "largest": (SizePart(name="<git>", kib=2048),)})
    (_, start), (_, sizes) = view.ShownRelease(record=record.model_copy(update={"image": told})).pictures
    assert is_plain_svg(start)
    assert "ssh.service" in start
    assert "&lt;git&gt;" in sizes
    assert "2.0 MiB" in sizes
    assert "<style" not in sizes
