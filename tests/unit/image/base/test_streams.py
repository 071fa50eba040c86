import itertools
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host.errors import VerificationError
from ci.image.base.streams import Product, Serial, read_product

NAME, PRODUCT = "released:download", "com.ubuntu.cloud:server:22.04:amd64"
SHA256 = "a" * 64


def serial(text: str) -> Serial:
    found = Serial.parse(text)
    assert found is not None
    return found


def read(
    versions: Mapping[str, Any], updated: str = "Mon, 03 Aug 2026 10:11:12 +0000", label: str | None = None
) -> Product:
    product: dict[str, Any] = {"versions": versions} | ({"label": label} if label else {})
    document = {"format": "products:1.0", "content_id": NAME, "updated": updated, "products": {PRODUCT: product}}
    return read_product(json.dumps(document).encode(), NAME, PRODUCT, "disk1.img", "the list")


def version(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"items": {"disk1.img": {"path": "jammy/x.img", "sha256": SHA256, "size": 5}}} | changes


# Serials


def test_serials_are_in_the_order_of_days_and_of_numbers_within_a_day() -> None:
    texts = ["20251231.999", "20260101", "20260101.1", "20260101.2", "20260101.10", "20260102"]
    for one, other in itertools.pairwise(texts):
        assert serial(one) < serial(other)
    assert str(serial("20260101.10")) == "20260101.10"


@given(st.dates(date(2004, 1, 1), date(2100, 1, 1)), st.integers(0, 999))
def test_every_day_and_number_is_read_as_it_was_written(day: date, number: int) -> None:
    found = serial(f"{day:%Y%m%d}.{number}")
    assert (found.day, found.number) == (day, number)


def test_what_is_no_serial_is_none(subtests: pytest.Subtests) -> None:
    for text in [
        "",
        "2026",
        "20260231",
        "20261301",
        "20260801.",
        "20260801.1234",
        "20260801.1.2",
        "20260801-1",
        " 20260801",
        "20260801\n",
        "२०२६०८०१",
        "release-20260801",
    ]:
        with subtests.test(text=text):
            assert Serial.parse(text) is None


# Products


def test_offers_are_in_the_order_of_their_serials_whatever_the_lists_order() -> None:
    found = read({"20260801": version(), "20260705": version(), "20260801.1": version()})
    assert [str(offer.serial) for offer in found.offers] == ["20260705", "20260801", "20260801.1"]


def test_what_is_not_there_is_kept_apart_and_what_is_not_released_left_out() -> None:
    found = read({"20260705": version(), "20260801": version(items={}), "20260802": version(label="beta")})
    assert [str(offer.serial) for offer in found.offers] == ["20260705"]
    assert [str(one) for one in found.incomplete] == ["20260801"]


def test_the_label_of_the_product_counts_where_the_serial_has_none() -> None:
    found = read({"20260705": version(), "20260801": version(label="release")}, label="daily")
    assert [str(offer.serial) for offer in found.offers] == ["20260801"]


def test_items_of_other_kinds_may_be_whatever_they_are() -> None:
    items = version()["items"] | {"manifest": None, "lxd.tar.xz": [1]}
    assert len(read({"20260705": version(items=items)}).offers) == 1


def test_a_product_without_serials_offers_nothing() -> None:
    assert read({}).offers == ()


@pytest.mark.parametrize(
    "updated",
    ["Mon, 03 Aug 2026 10:11:12 +0000", "Mon, 03 Aug 2026 10:11:12 -0000", "Mon, 03 Aug 2026 12:11:12 +0200",
     "Mon, 03 Aug 2026 10:11:12 GMT"],
)  # fmt: skip
def test_the_lists_date_is_read_in_utc_whatever_zone_it_is_written_in(updated: str) -> None:
    assert read({}, updated).updated == datetime(2026, 8, 3, 10, 11, 12, tzinfo=UTC)


def test_a_serial_of_the_lists_own_day_is_not_from_the_future() -> None:
    assert len(read({"20260801": version()}, "Sat, 01 Aug 2026 00:00:00 +0000").offers) == 1


@pytest.mark.parametrize(
    "updated", ["Fri, 31 Jul 2026 23:59:59 +0000", "Sat, 01 Aug 2026 01:00:00 +0200"], ids=["the day before", "in UTC"]
)
def test_a_later_one_is(updated: str) -> None:
    with pytest.raises(VerificationError, match="later than the list itself"):
        read({"20260801": version()}, updated)


@pytest.mark.parametrize("raw", [None, [], {"versions": []}, {"versions": {"20260801": {}}}, {"versions": {"x": 1}}])
def test_a_product_of_another_shape_is_told(raw: object) -> None:
    document = {"format": "products:1.0", "content_id": NAME, "updated": "x", "products": {PRODUCT: raw}}
    with pytest.raises(VerificationError, match=f"{PRODUCT} in the list makes no sense"):
        read_product(json.dumps(document).encode(), NAME, PRODUCT, "disk1.img", "the list")
