from dataclasses import replace
from typing import Any

import pytest

from ci.github.files import RepositoryFile
from ci.image.base.refresh import Newer, Pinned
from ci.image.base.streams import Offer, Serial
from ci.release.base_refresh import Refresh, change, text
from tests.support.answers import commit


def serial(words: str) -> Serial:
    found = Serial.parse(words)
    assert found is not None
    return found


OLD = Pinned(serial=serial("20260705"), url="https://example.org/jammy/release-20260705/a.img", sha256="a" * 64)
NEW = Newer(
    pinned=OLD,
    offer=Offer(serial=serial("20260801"), path="jammy/a.img", sha256="b" * 64, size=667_000_000),
    url="https://example.org/jammy/release-20260801/a.img",
    index="https://example.org/streams/v1/index.sjson",
    updated="2026-08-03 10:11 UTC",
    stream_signer="D" * 40,
    checksums_signer="E" * 40,
    vanished=False,
)
FILE = RepositoryFile(path="build/images/jammy.toml", data=b"")
REFRESH = Refresh(name="jammy", file=FILE, text="[base]\n", newer=NEW)


def newer(**changes: Any) -> Refresh:  # noqa: ANN401 - the fields of Newer and of its offer
    offer = {name: changes.pop(name) for name in ("serial", "sha256") if name in changes}
    return replace(REFRESH, newer=replace(NEW, offer=replace(NEW.offer, **offer), **changes))


HOSTILE = "x` @everyone\n\n# Merged <img src=x> | [a](javascript:b) #1"


def test_it_says_what_changes_and_how_it_was_verified() -> None:
    said = text(REFRESH)
    for fact in (
        OLD.serial,
        NEW.offer.serial,
        OLD.sha256,
        NEW.offer.sha256,
        OLD.url,
        NEW.url,
        "D" * 40,
        "E" * 40,
        NEW.updated,
    ):
        assert f"`{fact}`" in said
    assert "(https://example.org/jammy/release-20260801/)" in said
    assert "667,000,000 bytes" in said
    assert "no longer has" not in said


def test_a_vanished_serial_is_told() -> None:
    assert "**The stream no longer has `20260705`**" in text(newer(vanished=True))


def test_the_branch_and_the_commits_tag_are_the_same_for_every_serial_and_the_title_is_not() -> None:
    main = commit("Begin")
    one, other = change(REFRESH, "main", main), change(newer(serial=serial("20260801.1")), "main", main)
    assert (one.branch, one.tag, one.base, one.head) == (other.branch, other.tag, "main", main)
    assert one.title != other.title
    assert one.section.splitlines()[0] not in other.section
    assert one.one_of_many
    assert one.files == {FILE: "[base]\n"}


@pytest.mark.parametrize("field", ["index", "updated", "stream_signer", "checksums_signer", "url", "sha256"])
def test_foreign_text_is_code_and_nothing_else(field: str) -> None:
    said = text(newer(**{field: HOSTILE}))
    outside = "".join(said.split("`")[::2])
    assert said.count("`") % 2 == 0
    for harm in ("@everyone", "<img", "# Merged", "javascript"):
        assert harm not in outside


@pytest.mark.parametrize("field", ["url", "sha256"])
def test_so_are_the_facts_of_the_base_that_is_pinned_and_the_definitions_path(field: str) -> None:
    pinned = replace(OLD, **{field: HOSTILE})  # type: ignore[arg-type]
    said = text(replace(newer(vanished=True, pinned=pinned), file=RepositoryFile(path=HOSTILE)))
    outside = "".join(said.split("`")[::2])
    for harm in ("@everyone", "<img", "# Merged", "javascript"):
        assert harm not in outside
