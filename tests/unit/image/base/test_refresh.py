from datetime import UTC, datetime

import pytest

from ci.host.errors import InputError, VerificationError
from ci.image.base.refresh import NothingNewerError, Pinned, choose, new_url, pinned_base
from ci.image.base.streams import Offer, Product, Serial
from ci.image.definition import Base

URL = "https://cloud-images.ubuntu.com/releases/jammy/release-20260705/ubuntu-22.04-server-cloudimg-amd64.img"
TAIL = "ubuntu-22.04-server-cloudimg-amd64.img"
SHA256 = "a" * 64


def serial(text: str) -> Serial:
    found = Serial.parse(text)
    assert found is not None
    return found


def offer(text: str, sha256: str = SHA256, path: str | None = None) -> Offer:
    path = path or f"server/releases/jammy/release-{text}/{TAIL}"
    return Offer(serial=serial(text), path=path, sha256=sha256, size=5)


def product(*offers: Offer, incomplete: tuple[str, ...] = ()) -> Product:
    return Product(
        name="server",
        updated=datetime(2026, 8, 3, tzinfo=UTC),
        offers=offers,
        incomplete=tuple(map(serial, incomplete)),
    )


PINNED = Pinned(url=URL, sha256=SHA256, serial=serial("20260705"))


# What is pinned


@pytest.mark.parametrize("text", ["20260705", "20260705.1"])
def test_the_pinned_serial_is_in_the_url(text: str) -> None:
    found = pinned_base(Base.model_validate({"url": URL.replace("20260705", text), "sha256": SHA256}), "jammy.toml")
    assert (str(found.serial), found.sha256) == (text, SHA256)
    later = offer("20260801.2")
    assert new_url(found, later) == URL.replace("20260705", "20260801.2")


@pytest.mark.parametrize(
    "url",
    [
        "https://cloud-images.ubuntu.com/jammy/current/jammy-server-cloudimg-amd64.img",
        URL.replace("release-20260705", "release"),
        URL.replace("20260705", "20260231"),
        URL.replace("20260705", "20260705..1"),
        URL + "?mirror=1",
        "https://cloud-images.ubuntu.com/release-20260705/",
    ],
)
def test_a_url_that_does_not_say_its_serial_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"of jammy\.toml does not say which serial") as failure:
        pinned_base(Base.model_validate({"url": url, "sha256": SHA256}), "jammy.toml")
    assert "release-<serial>" in failure.value.hint


# What is chosen


def test_the_newest_is_chosen_not_the_last_of_the_list() -> None:
    assert choose(PINNED, product(offer("20260801"), offer("20260705"), offer("20260710"))) == offer("20260801")


def test_a_second_one_of_the_same_day_is_newer() -> None:
    assert choose(PINNED, product(offer("20260705"), offer("20260705.1"))) == offer("20260705.1")


def test_a_vanished_one_is_left_for_a_newer_one() -> None:
    assert choose(PINNED, product(offer("20260801"))) == offer("20260801")


@pytest.mark.parametrize(
    ("there", "unusual", "words"),
    [
        (product(offer("20260705")), False, "20260705 is the newest serial of server"),
        (product(offer("20260601")), True, "the newest serial of server is 20260601: the pinned one was taken back"),
        (product(), True, "server has no released serial"),
        (product(offer("20260705"), incomplete=("20260801",)), False, "20260801 is announced without the file"),
        (product(incomplete=("20260801",)), True, "no released serial; 20260801 is announced without the file"),
    ],
)
def test_where_nothing_is_newer_the_reason_is_told(there: Product, words: str, *, unusual: bool) -> None:
    with pytest.raises(NothingNewerError, match=words) as found:
        choose(PINNED, there)
    assert found.value.unusual == unusual


def test_an_older_serial_without_the_file_is_nobodys_concern() -> None:
    with pytest.raises(NothingNewerError, match=r"^20260705 is the newest serial of server$"):
        choose(PINNED, product(offer("20260705"), incomplete=("20260601",)))


@pytest.mark.parametrize("others", [(), (offer("20260801"),)], ids=["alone", "with a newer one"])
def test_the_pinned_serial_with_another_digest_ends_it(others: tuple[Offer, ...]) -> None:
    with pytest.raises(VerificationError, match=f"pinned is {SHA256}"):
        choose(PINNED, product(offer("20260705", "b" * 64), *others))


# Where it is


def test_only_the_serial_of_the_url_changes_whatever_the_streams_root_is_called() -> None:
    assert new_url(PINNED, offer("20260801")) == URL.replace("20260705", "20260801")
    assert new_url(PINNED, offer("20260801", path=f"jammy/release-20260801/{TAIL}")).endswith(TAIL)


@pytest.mark.parametrize(
    "path",
    [
        TAIL,
        f"release-20260801/{TAIL}",
        f"server/releases/noble/release-20260801/{TAIL}",
        f"server/releases/jammy/release-20260802/{TAIL}",
        f"server/releases/jammy/release-20260801/{TAIL}.old",
        f"server/releases/jammy/release-20260801/x/{TAIL}",
    ],
)
def test_an_offer_of_another_file_is_refused(path: str) -> None:
    with pytest.raises(VerificationError, match="does not fit the URL that is pinned"):
        new_url(PINNED, offer("20260801", path=path))
