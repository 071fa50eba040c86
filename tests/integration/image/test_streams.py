"""Newer bases, from a stream on a real server, signed by real keys and checked by gpgv."""

import io
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from ci.fetch.open_url import Client
from ci.fetch.retry import Patience
from ci.host.errors import FetchError, InputError, ToolsmithError, VerificationError
from ci.host.progress import Reporter
from ci.image.base.refresh import Newer, NothingNewerError, find_newer
from ci.image.definition import Base
from tests.support.fault_server import Fault, FaultServer
from tests.support.mirror import (
    FILE,
    INDEX_PATH,
    LIST,
    LIST_PATH,
    NEW,
    NEWEST,
    OLD,
    PRODUCT,
    Mirror,
    digest,
    folder,
    image,
    item,
)
from tests.support.signing import Signer

pytestmark = pytest.mark.integration

Break = Callable[[Mirror], object]


@pytest.fixture
def mirror(publisher: Signer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("NO_PROXY", "localhost")
    with FaultServer() as server:
        made = Mirror(server, publisher)
        made.publish(OLD, NEW, NEWEST)
        yield made


def look(mirror: Mirror, serial: str = OLD, **changes: str) -> Newer:
    table = tomllib.loads(mirror.definition(serial))["base"]
    table["streams"] |= changes
    reporter = Reporter(Console(file=io.StringIO()), in_actions=False)
    client = Client(patience=Patience(sleep=lambda _: None))
    return find_newer(Base.model_validate(table), "jammy.toml", root=Path("/"), reporter=reporter, client=client)


def nothing(mirror: Mirror, serial: str = OLD) -> NothingNewerError:
    with pytest.raises(NothingNewerError) as found:
        look(mirror, serial)
    return found.value


def refused(mirror: Mirror, error: type[ToolsmithError], words: str, **changes: str) -> None:
    with pytest.raises(error, match=words) as failure:
        look(mirror, **changes)
    assert failure.value.hint


# What is found


def test_the_newest_serial_is_found_with_all_that_vouches_for_it_and_no_image_is_fetched(
    mirror: Mirror, publisher: Signer
) -> None:
    found = look(mirror)
    assert (str(found.offer.serial), found.offer.sha256, found.offer.size) == (
        NEWEST,
        digest(NEWEST),
        len(image(NEWEST)),
    )
    assert found.url == mirror.image_url(NEWEST)
    assert (found.stream_signer, found.checksums_signer) == (publisher.fingerprint, publisher.fingerprint)
    assert (found.updated, found.vanished) == ("2026-08-03 10:11 UTC", False)
    asked = {request.path for request in mirror.server.requests}
    sums = {f"{folder(NEWEST)}/{name}" for name in (FILE, "SHA256SUMS", "SHA256SUMS.gpg")}
    assert asked == {INDEX_PATH, LIST_PATH, *sums}


def test_the_newest_serial_that_is_pinned_already_leaves_nothing_to_do(mirror: Mirror) -> None:
    found = nothing(mirror, NEWEST)
    assert str(found) == f"{NEWEST} is the newest serial of {PRODUCT}"
    assert not found.unusual


def test_a_pinned_serial_that_vanished_is_left_for_a_newer_one(mirror: Mirror) -> None:
    mirror.publish(NEW)
    found = look(mirror)
    assert (str(found.offer.serial), found.vanished) == (NEW, True)


def test_a_stream_that_went_back_leaves_nothing_to_do_and_says_what_is_odd(mirror: Mirror) -> None:
    mirror.publish(OLD)
    found = nothing(mirror, NEW)
    assert found.unusual
    assert f"{NEW} is pinned, and the newest serial of {PRODUCT} is {OLD}" in str(found)


def test_an_interrupted_download_of_a_stream_is_continued(mirror: Mirror) -> None:
    mirror.server.arm(LIST_PATH, Fault(cut_after=200), Fault(status=503))
    assert str(look(mirror).offer.serial) == NEWEST


def test_a_serial_that_is_no_release_is_passed_over(mirror: Mirror) -> None:
    mirror.versions[NEWEST]["label"] = "beta"
    mirror.announce()
    assert str(look(mirror).offer.serial) == NEW


# A day that is published by half


def without_item(mirror: Mirror) -> None:
    mirror.versions[NEWEST]["items"] = {"manifest": {}}
    mirror.announce()


def test_a_serial_without_the_file_is_passed_over_and_said_where_nothing_else_is_newer(mirror: Mirror) -> None:
    without_item(mirror)
    assert str(look(mirror).offer.serial) == NEW
    found = nothing(mirror, NEW)
    assert str(found).endswith(f"; {NEWEST} is announced without the file")


def shorter(mirror: Mirror) -> None:
    mirror.server.publish(f"{folder(NEWEST)}/{FILE}", image(NEWEST)[:-1])


def unlisted(mirror: Mirror) -> None:
    listing = f"{digest(NEWEST)} *another.img\n".encode()
    mirror.server.publish(f"{folder(NEWEST)}/SHA256SUMS", listing)
    mirror.server.publish(f"{folder(NEWEST)}/SHA256SUMS.gpg", mirror.signer.sign(listing))


HALVES: dict[str, tuple[Break, str]] = {
    "no image": (lambda mirror: mirror.withdraw(NEWEST, FILE), "its image is not there yet"),
    "a part of the image": (shorter, f"its image has {len(image(NEWEST)) - 1} bytes"),
    "no checksums": (lambda mirror: mirror.withdraw(NEWEST, "SHA256SUMS"), "there is no SHA256SUMS"),
    "no line in the checksums": (unlisted, "SHA256SUMS beside its image has no line for it yet"),
    "no signature": (lambda mirror: mirror.withdraw(NEWEST, "SHA256SUMS.gpg"), "there is no SHA256SUMS"),
}


@pytest.mark.parametrize("name", HALVES)
def test_a_serial_that_is_published_by_half_is_left_for_the_next_run(mirror: Mirror, name: str) -> None:
    damage, words = HALVES[name]
    damage(mirror)
    found = nothing(mirror)
    assert found.unusual
    assert f"{NEWEST} is announced and not published to the end" in str(found)
    assert words in str(found)


# What is not believed


@pytest.mark.parametrize("path", [INDEX_PATH, LIST_PATH], ids=["index", "list"])
class TestSignatures:
    def test_a_text_altered_after_signing(self, mirror: Mirror, path: str) -> None:
        signed = mirror.server.files[path].body
        mirror.server.publish(path, signed.replace(b"2026", b"2027", 1))
        refused(mirror, VerificationError, "does not fit the file")

    def test_a_key_that_nobody_trusts(self, mirror: Mirror, stranger: Signer, path: str) -> None:
        mirror.announce_text(path, "{}", stranger)
        refused(mirror, VerificationError, "not in the keyring")

    def test_no_signature_at_all(self, mirror: Mirror, path: str) -> None:
        mirror.server.publish(path, b'{"format": "index:1.0", "index": {}}')
        refused(mirror, VerificationError, "is not one clear-signed text")

    def test_a_stranger_text_beside_the_publishers(self, mirror: Mirror, stranger: Signer, path: str) -> None:
        mirror.server.publish(path, stranger.clearsign(b"{}\n") + mirror.server.files[path].body)
        refused(mirror, VerificationError, "is not one clear-signed text")

    def test_a_text_around_the_signed_one_is_not_read(self, mirror: Mirror, path: str) -> None:
        signed = mirror.server.files[path].body
        mirror.server.publish(path, b'{"format": "other"}\n' + signed + b"rubbish\n")
        assert str(look(mirror).offer.serial) == NEWEST

    def test_a_text_that_is_no_json(self, mirror: Mirror, path: str) -> None:
        mirror.announce_text(path, "<p>Closed</p>")
        refused(mirror, VerificationError, "it is not JSON")

    def test_a_text_that_is_nested_without_end(self, mirror: Mirror, path: str) -> None:
        mirror.announce_text(path, "[" * 200_000)
        refused(mirror, VerificationError, "makes no sense")

    def test_a_text_that_is_not_there(self, mirror: Mirror, path: str) -> None:
        del mirror.server.files[path]
        refused(mirror, FetchError, "does not exist")


def test_a_text_longer_than_any_index_is_not_fetched(mirror: Mirror) -> None:
    mirror.server.arm(INDEX_PATH, Fault(announce=1 << 40))
    refused(mirror, FetchError, "is larger than")


def test_checksums_by_another_key(mirror: Mirror, stranger: Signer) -> None:
    mirror.publish_checksums(NEWEST, digest(NEWEST), stranger)
    refused(mirror, VerificationError, "not in the keyring")


def test_checksums_that_differ_from_the_stream(mirror: Mirror) -> None:
    mirror.publish_checksums(NEWEST, "2" * 64)
    refused(mirror, VerificationError, "both are signed")


def test_the_pinned_serial_with_another_digest(mirror: Mirror) -> None:
    mirror.versions[OLD]["items"]["disk1.img"]["sha256"] = "3" * 64
    mirror.announce()
    refused(mirror, VerificationError, f"the stream gives {OLD}")


# What makes no sense


def test_another_product_is_not_guessed_at(mirror: Mirror) -> None:
    with pytest.raises(InputError, match=r"has no product com\.ubuntu\.cloud:server:22\.04:amd46") as failure:
        look(mirror, product="com.ubuntu.cloud:server:22.04:amd46")
    assert f"The nearest that it has: {PRODUCT}" in failure.value.hint


def test_another_item_is_not_guessed_at(mirror: Mirror) -> None:
    refused(mirror, InputError, r"has no item disk\.img", item="disk.img")


def test_a_serial_that_comes_twice_under_one_name(mirror: Mirror) -> None:
    text = json.dumps(mirror.products, indent=1)
    mirror.announce_text(LIST_PATH, text.replace(f'"{NEW}":', f'"{NEWEST}":'))
    refused(mirror, VerificationError, f"the key {NEWEST} comes twice")


def test_a_serial_that_comes_twice_under_two_names(mirror: Mirror) -> None:
    mirror.versions[f"{NEW}.0"] = mirror.versions[NEW]
    mirror.announce()
    refused(mirror, VerificationError, "comes twice, under different names")


def test_a_serial_from_the_streams_own_future(mirror: Mirror) -> None:
    mirror.products["updated"] = "Fri, 31 Jul 2026 23:59:59 +0000"
    mirror.announce()
    refused(mirror, VerificationError, "is later than the list itself, which is of 20260731")


def offer(**changes: object) -> Break:
    def damage(mirror: Mirror) -> None:
        mirror.versions[NEWEST]["items"]["disk1.img"] = item(NEWEST) | changes
        mirror.announce()

    return damage


def entry(**changes: object) -> Break:
    def damage(mirror: Mirror) -> None:
        mirror.index["index"][LIST] |= changes
        mirror.announce()

    return damage


def products(**changes: object) -> Break:
    def damage(mirror: Mirror) -> None:
        mirror.products |= changes
        mirror.announce()

    return damage


def serial(name: str) -> Break:
    def damage(mirror: Mirror) -> None:
        mirror.versions[name] = {"items": {}}
        mirror.announce()

    return damage


def second_list(mirror: Mirror) -> None:
    mirror.index["index"]["other"] = mirror.index["index"][LIST]
    mirror.announce()


SENSELESS: dict[str, tuple[Break, str]] = {
    "a path that leaves the folder": (offer(path=f"a/../jammy/release-{NEWEST}/{FILE}"), "stay inside"),
    "an absolute path": (offer(path=f"/jammy/release-{NEWEST}/{FILE}"), "stay inside"),
    "a URL as a path": (offer(path=f"http://example.org/jammy/release-{NEWEST}/{FILE}"), "stay inside"),
    "a path of another release": (offer(path=f"server/releases/noble/release-{NEWEST}/{FILE}"), "does not fit"),
    "a path of another serial": (offer(path=f"server/releases/jammy/release-{NEW}/{FILE}"), "does not fit"),
    "another file": (offer(path=f"server/releases/jammy/release-{NEWEST}/other.img"), "does not fit"),
    "a digest that is none": (offer(sha256="0" * 40), "sha256"),
    "no size": (offer(size=0), "size"),
    "a size as text": (offer(size="12"), "size"),
    "a serial that is no date": (serial("20260231"), "is not a serial"),
    "a serial with markup": (serial("`20260801`"), "is not a serial"),
    "a list that is not signed": (entry(path="streams/v1/list.json"), "not the form that is signed"),
    "a list outside": (entry(path="../list.sjson"), "stay inside"),
    "another format": (products(format="products:2.0"), "format"),
    "another list than promised": (products(content_id="com.ubuntu.cloud:daily:download"), "the index promised"),
    "no date": (products(updated="some day"), "is not a date"),
    "two lists": (second_list, "is in 2 lists"),
}


@pytest.mark.parametrize("name", SENSELESS)
def test_a_signed_stream_that_makes_no_sense_is_not_guessed_at(mirror: Mirror, name: str) -> None:
    damage, words = SENSELESS[name]
    damage(mirror)
    refused(mirror, VerificationError, words)
