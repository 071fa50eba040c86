import base64
import hashlib
import html
import json
import re
import xml.etree.ElementTree as ET
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import feedparser  # type: ignore[import-untyped]
import pytest

from ci.catalogue import site
from ci.catalogue.site import DOCUMENT, FEED, PAGE, CatalogueDocument, catalogue_files
from ci.catalogue.view import MOST_PACKAGES
from ci.records.release import AttestationRecord, ReleaseFacts, ReleaseRecord
from ci.text.visible import visible
from tests.support.release_records import (
    HOSTILE,
    make_asset,
    make_changes,
    make_image,
    make_record,
    make_records,
    package,
)

TAGS = ("v2026.11.09", "v2026.11.16", "v2026.11.23")
ATOM = "{http://www.w3.org/2005/Atom}"
POINTING = ("aria-labelledby", "aria-describedby", "aria-controls", "for", "data-copy")
VOID = {"br", "input", "link", "meta", "img"}


class Page(HTMLParser):
    """What a browser makes of a page: its elements, its words, and whether each element ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"line", "circle", "polyline"}:
            return
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def values(self, attribute: str) -> list[str]:
        return [value for _, found in self.elements if (value := found.get(attribute)) is not None]


def hostile_record(text: str) -> ReleaseRecord:
    """A record that says `text` wherever its model takes any."""
    tag = "v2026.11.23"
    image = make_image(tag)
    # Not even a model's rules are relied upon.
    asset = make_asset(tag, ".txt", "e", 1).model_copy(update={"name": text, "url": text})
    image = image.model_copy(
        update={
            "name": text,
            "definition": text,
            "distribution": text,
            "kernel": text,
            "base": image.base.model_copy(update={"url": text, "verified_by": text}),
            "assets": [asset],
            "attestation": AttestationRecord.model_construct(url=text, predicates=[text]),
            "validation": image.validation.model_copy(update={"accelerator": text, "ssh_seconds": {text: 1.0}}),
        }
    )
    previous = ReleaseFacts.of(make_record("v2026.11.16")).model_copy(update={"tag": text, "name": text})
    changes = make_changes(added=(package(text, text),))
    return make_record(
        tag, image, repository=text, url=text, commit=text, run=text, previous=previous, changes=changes, others=[image]
    )


def feed_of(*records: ReleaseRecord) -> ET.Element:
    return ET.fromstring(catalogue_files(records)[FEED])  # noqa: S314 - made here


def page_of(*records: ReleaseRecord) -> Page:
    return Page(catalogue_files(records)[PAGE])


def test_there_are_a_page_a_feed_and_a_document() -> None:
    assert set(catalogue_files(make_records(*TAGS))) == {"index.html", "feed.xml", "releases.json"}


def test_the_same_records_give_the_same_bytes() -> None:
    assert catalogue_files(make_records(*TAGS)) == catalogue_files(make_records(*TAGS))


def test_the_document_has_all_records() -> None:
    records = make_records(*TAGS)
    found = CatalogueDocument.model_validate_json(catalogue_files(records)[DOCUMENT])
    assert list(found.releases) == records
    assert json.loads(catalogue_files([])[DOCUMENT])["releases"] == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_page_is_well_formed_and_its_ids_are_unique(count: int) -> None:
    ids = page_of(*make_records(*TAGS[:count])).values("id")
    assert len(ids) == len(set(ids))


def test_everything_that_is_pointed_to_is_there() -> None:
    page = page_of(*make_records(*TAGS))
    ids = set(page.values("id"))
    pointed = [names for attribute in POINTING for names in page.values(attribute)]
    anchors = [link.removeprefix("#") for link in page.values("href") if link.startswith("#")]
    assert pointed
    assert {one for names in pointed for one in names.split()} | set(anchors) <= ids


def test_a_page_asks_for_nothing_and_runs_nothing_but_its_own() -> None:
    text = catalogue_files(make_records(*TAGS))[PAGE]
    page = Page(text)
    assert page.values("src") == []
    assert page.values("style") == []
    assert not [name for _, found in page.elements for name in found if name.startswith("on")]
    loaded = [found["href"] for tag, found in page.elements if tag == "link" and found["rel"] != "alternate"]
    assert [link.partition(":")[0] for link in loaded if link] == ["data"]
    (policy,) = [found["content"] for tag, found in page.elements if found.get("http-equiv")]
    for element in ("style", "script"):
        (source,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")
    assert "unsafe" not in (policy or "")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_nothing_else(text: str) -> None:
    plain = page_of(hostile_record("plain"))
    page = page_of(hostile_record(text))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert [set(found) for _, found in page.elements] == [set(found) for _, found in plain.elements]
    assert visible(text) in page.words
    assert all(character.isprintable() or character == "\n" for character in page.words)
    assert not [link for link in page.values("href") if text in link]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_in_the_feed(text: str) -> None:
    root = feed_of(hostile_record(text))
    assert [one.tag.removeprefix(ATOM) for one in root.findall(f"{ATOM}entry/")] == [
        "id", "title", "updated", "content",
    ]  # fmt: skip
    assert root.findall(f"{ATOM}link") == []
    assert visible(text) in (root.findtext(f"{ATOM}entry/{ATOM}content") or "")
    assert visible(text) == root.findtext(f"{ATOM}author/{ATOM}name")


def test_only_safe_addresses_become_links() -> None:
    page = page_of(make_record(url="http://plain.example/releases", run="javascript:alert(1)"))
    external = [link for link in page.values("href") if "://" in link and not link.startswith("data:image/")]
    assert external
    assert all(link.startswith("https://") for link in external)
    assert "javascript" not in "".join(page.values("href"))


def test_before_the_first_release_it_says_how_that_comes() -> None:
    page = page_of()
    assert "No release yet" in page.words
    assert "table" not in [tag for tag, _ in page.elements]


def test_a_feed_reader_understands_the_feed() -> None:
    records = make_records(*TAGS)
    feed = feedparser.parse(catalogue_files(records)[FEED])
    assert not feed.bozo, feed.get("bozo_exception")
    assert feed.version == "atom10"
    assert [entry.title for entry in feed.entries] == list(TAGS[::-1])
    assert [entry.link for entry in feed.entries] == [record.url for record in records]
    for entry, record in zip(feed.entries, records, strict=True):
        assert record.image.qcow2.sha256 in entry.content[0].value
        assert datetime.fromisoformat(entry.updated) == record.image.built_at
    assert datetime.fromisoformat(feed.feed.updated) == records[0].image.built_at


def test_the_feed_has_what_the_standard_asks_for() -> None:
    # RFC 4287, 4.1.1 and 4.1.2
    root = feed_of(*make_records(*TAGS))
    for parent in (root, *root.findall(f"{ATOM}entry")):
        for name in ("id", "title", "updated"):
            assert len(parent.findall(f"{ATOM}{name}")) == 1
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", parent.findtext(f"{ATOM}updated") or "")
        links = [(one.get("rel"), one.get("type")) for one in parent.findall(f"{ATOM}link")]
        assert len(links) == len(set(links))
        assert ("alternate", "text/html") in links
    assert root.findtext(f"{ATOM}author/{ATOM}name") == "fountain/image"


def hrefs(records: list[ReleaseRecord], site: str | None) -> list[tuple[str | None, str | None]]:
    root = ET.fromstring(catalogue_files(records, site)[FEED])  # noqa: S314 - made here
    return [(one.get("rel"), one.get("href")) for one in root.iter(f"{ATOM}link")]


def test_each_address_in_the_feed_is_whole_wherever_a_reader_has_it_from() -> None:
    records = make_records(*TAGS)
    entries = [("alternate", record.url) for record in records]
    here = [("self", "https://o.github.io/n/feed.xml"), ("alternate", "https://o.github.io/n/")]
    assert hrefs(records, "https://o.github.io/n/") == [*here, *entries]
    assert hrefs(records, None) == [("alternate", records[0].url.rpartition("/tag/")[0]), *entries]
    assert hrefs([], None) == []


def test_a_release_without_an_address_is_looked_up_on_the_page() -> None:
    record = make_record(url="javascript:alert(1)")
    assert hrefs([record], "https://o.github.io/n/")[2:] == [("alternate", f"https://o.github.io/n/#{record.tag}")]
    assert hrefs([record], None) == []


def test_names_in_the_feed_are_unique_and_stay_when_releases_come() -> None:
    def ids(*tags: str) -> list[str]:
        root = feed_of(*make_records(*tags))
        return [one.text or "" for one in (*root.findall(f"{ATOM}id"), *root.findall(f"{ATOM}entry/{ATOM}id"))]

    before, after = ids(*TAGS[:2]), ids(*TAGS)
    assert set(before) < set(after)
    assert before[0] == after[0]
    assert len(after) == len(set(after)) == 4
    assert after[1] == "tag:github.com,2026-11-23:fountain/image/v2026.11.23"


def test_a_feed_without_a_release_is_a_feed_too() -> None:
    feed = feedparser.parse(catalogue_files([])[FEED])
    assert not feed.bozo
    assert feed.entries == []


def test_the_feed_is_cut_to_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "FEED_ENTRIES", 2)
    feed = feedparser.parse(catalogue_files(make_records(*TAGS))[FEED])
    assert [entry.title for entry in feed.entries] == ["v2026.11.23", "v2026.11.16"]


def test_a_source_that_could_end_its_element_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.js").write_text('"</script>"')
    monkeypatch.setattr(site, "TEMPLATES", tmp_path)
    with pytest.raises(ValueError, match=r"x\.js could end its element early"):
        site._source("x.js")


def test_only_the_first_release_is_marked_as_the_latest() -> None:
    first, *others = re.findall(r"<tbody.*?</tbody>", catalogue_files(make_records(*TAGS))[PAGE], re.DOTALL)
    assert [">latest<" in rows for rows in (first, *others)] == [True] + [False] * len(others)


def test_the_snippet_on_the_page_is_the_text_to_copy() -> None:
    text = catalogue_files(make_records(*TAGS))[PAGE]
    (found,) = re.findall(r'<pre id="latest-snippet"[^>]*><code>(.*?)</code>', text, re.DOTALL)
    document = json.loads(html.unescape(found))
    assert list(document) == ["image"]
    image, qcow2 = document["image"], make_record().image.qcow2
    assert (image["version"], image["qcow2"], image["qcow2_sha256"]) == ("v2026.11.23", qcow2.url, qcow2.sha256)


def test_a_long_list_of_packages_is_cut_and_the_rest_counted() -> None:
    added = tuple(package(f"p{number}", "1") for number in range(MOST_PACKAGES + 7))
    previous = ReleaseFacts.of(make_record("v2026.11.16"))
    page = page_of(make_record(previous=previous, changes=make_changes(added=added)))
    assert f"{len(added)} added" in page.words
    assert "8 more packages: see the release's package list." in page.words  # these seven, and the one upgraded
    assert [name in page.words for name in ("p299", "p300")] == [True, False]
