"""The files of the catalogue, as text: a page that needs no other file, a feed, and all records in one document."""

import base64
import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from markupsafe import Markup
from pydantic import Field

from ci.catalogue.chart import HEIGHT, LEFT, RIGHT, WIDTH, draw_charts
from ci.catalogue.view import MOST_PACKAGES, VOUCHED_FOR, ShownRelease, safe_link
from ci.records.record import Record
from ci.records.release import ReleaseRecord, manifest_snippet
from ci.records.version import Version
from ci.text import figures
from ci.text.pages import page_templates

PAGE, FEED, DOCUMENT = "index.html", "feed.xml", "releases.json"
TEMPLATES = Path(__file__).parent / "templates"
FEED_ENTRIES = 50
# Where there is no release yet, the feed is as old as can be.
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class CatalogueDocument(Record):
    """All records, newest first."""

    schema_: Literal["fountainkit-toolsmith-image/catalogue/1"] = Field(
        default="fountainkit-toolsmith-image/catalogue/1", alias="schema"
    )
    releases: tuple[ReleaseRecord, ...]


def catalogue_files(records: Sequence[ReleaseRecord], site: str | None = None) -> dict[str, str]:
    """The texts by the names of their files, from records that come newest first; `site` is where they will be."""
    releases = [ShownRelease(record=record) for record in records]
    return {
        PAGE: _page(releases),
        FEED: _feed(releases, site),
        DOCUMENT: CatalogueDocument(releases=tuple(records)).to_json(),
    }


def _page(releases: Sequence[ShownRelease]) -> str:
    style, script = _source("style.css"), _source("catalogue.js")
    return ENVIRONMENT.get_template("index.html.j2").render(
        releases=releases,
        charts=draw_charts(releases),
        emulated=any(one.boot and one.boot.emulated for one in releases),
        chart_size={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT},
        style=style,
        script=script,
        document=DOCUMENT,
    )


def _digest(source: str) -> str:
    """By what a page's policy knows a style or script of its own."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


@cache
def _source(name: str) -> Markup:
    """A file of ours that goes into the page as it is."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    if "</" in text:
        raise ValueError(f"{os.fspath(TEMPLATES / name)} could end its element early")
    return Markup(text)  # noqa: S704 - ours, and looked at above


def _feed(releases: Sequence[ShownRelease], site: str | None) -> str:
    """Each entry has a name that stays the same for ever, wherever the page is published.

    A reader may have the feed from anywhere, so every address in it is whole, or is not there.
    """
    newest = safe_link(releases[0].record.url) if releases else None
    # The oldest one, because it stays: neither a new release nor a new name of the repository makes another feed.
    oldest = releases[-1].record if releases else None
    return ENVIRONMENT.get_template("feed.xml.j2").render(
        id=_tag_uri(oldest, "releases") if oldest else "tag:localhost,1970:releases",
        repository=releases[0].record.repository if releases else "Toolsmith image",
        updated=max((one.built_at for one in releases), default=LONG_AGO),
        entries=[(_tag_uri(one.record, one.record.tag), one) for one in releases[:FEED_ENTRIES]],
        site=site,
        home=newest.rpartition("/tag/")[0] if newest else None,
    )


def _tag_uri(record: ReleaseRecord, what: str) -> str:
    """A name that nobody else can give, as RFC 4151 has it."""
    host = urlsplit(record.url).hostname if safe_link(record.url) else None
    day = Version.parse(record.tag).day
    return f"tag:{host or 'localhost'},{day.isoformat()}:{quote(record.repository)}/{quote(what)}"


ENVIRONMENT = page_templates(TEMPLATES)
ENVIRONMENT.globals |= {"MOST_PACKAGES": MOST_PACKAGES, "VOUCHED_FOR": VOUCHED_FOR, "feed": FEED}
ENVIRONMENT.filters |= {
    "bytes": figures.size, "moment": "{:%Y-%m-%dT%H:%M:%SZ}".format, "plural": figures.plural, "safe_link": safe_link,
    "seconds": figures.seconds, "snippet": manifest_snippet, "source_digest": _digest,
}  # fmt: skip
