from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ci.host.errors import InputError
from ci.records.version import Version

versions = st.builds(Version, st.dates(), st.integers(min_value=0, max_value=999_999_999))


@given(versions)
def test_text_and_back_is_the_same_version(version: Version) -> None:
    assert Version.parse(str(version)) == version


@given(st.text() | st.from_regex(r"v\d{4}\.\d{2}\.\d{2}(\.\d+)?", fullmatch=True))
@example("v2026.02.30")
@example("v2024.02.29")
@example("v0000.01.01")
@example("v\u0662\u0660\u0662\u0666.01.01")
def test_whatever_parses_is_spelt_in_the_one_way(text: str) -> None:
    try:
        version = Version.parse(text)
    except InputError:
        return
    assert str(version) == text


@given(versions, versions)
def test_the_order_is_total_and_by_day_then_number(one: Version, other: Version) -> None:
    assert (one < other) == ((one.day, one.number) < (other.day, other.number))
    assert (one < other) + (one == other) + (one > other) == 1


def test_a_tenth_release_of_a_day_comes_after_the_second() -> None:
    assert (
        Version.parse("v2026.11.23")
        < Version.parse("v2026.11.23.2")
        < Version.parse("v2026.11.23.10")
        < Version.parse("v2026.11.24")
    )


def test_anything_else_is_refused_with_an_example(subtests: pytest.Subtests) -> None:
    for text in [
        "",
        "2026.11.23",
        "v2026.11.23.0",
        "v2026.11.23.01",
        "v2026.11.23.",
        "v2026.1.23",
        "v2026.13.01",
        "v2026.02.29",
        "V2026.11.23",
        " v2026.11.23",
        "v2026.11.23\n",
        "v2026-11-23",
        "v2026.11.23-rc1",
        "v2026.11.23.1.1",
        "v\u0662\u0660\u0662\u0666.11.23",
    ]:
        with subtests.test(text=text):
            with pytest.raises(InputError, match="is not a version") as caught:
                Version.parse(text)
            assert "v2026.11.23" in caught.value.hint


def test_a_leap_day_is_a_day() -> None:
    assert Version.parse("v2024.02.29") == Version(date(2024, 2, 29))


def test_today_is_the_day_in_utc() -> None:
    evening_in_new_york = datetime(2026, 11, 23, 22, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert str(Version.today(evening_in_new_york)) == "v2026.11.24"
    assert str(Version.today(datetime(2026, 1, 2, tzinfo=UTC))) == "v2026.01.02"


def test_a_time_without_zone_is_a_bug() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Version.today(datetime(2026, 11, 23))  # noqa: DTZ001 - that is the point
