from collections.abc import Sequence
from pathlib import Path

import pytest

from ci.host.errors import FetchError, ToolError
from ci.image.base import suites
from ci.image.base.suites import Target, find_sources, in_order

DEBIAN, OLD = "http://deb.debian.org/debian", "http://archive.debian.org/debian"
MIRROR, PROXIED = "http://mirror.example/debian", "http://mirror.example/security"
OWN = (
    Target(archive=DEBIAN, suite="bookworm-updates"),
    Target(archive=MIRROR, suite="bookworm"),
    Target(archive=PROXIED, suite="bookworm-security"),
)


def line(archive: str, suite: str) -> str:
    return f"deb {archive} {suite} main"


class Archives:
    """Stands in for what apt-helper finds: `suites` by archive. `asked` are the archives and suites in order."""

    def __init__(self, known: dict[str, list[str]]) -> None:
        self.known = known
        self.asked: list[str] = []

    def run(self, argv: Sequence[str | Path], *, timeout: float) -> None:
        assert timeout
        url = str(argv[-2])
        self.asked.append(url)
        archive, _, suite = url.removesuffix("/InRelease").partition("/dists/")
        if suite not in self.known.get(archive, []):
            raise ToolError("apt-helper failed", details=f"Get:1 {url}\nE: Failed to fetch {url}  404  Not Found")


def asking(monkeypatch: pytest.MonkeyPatch, known: dict[str, list[str]], own: tuple[Target, ...] = OWN) -> Archives:
    archives = Archives(known)
    monkeypatch.setattr(suites, "run", archives.run)
    monkeypatch.setattr(suites, "own_targets", lambda: own)
    return archives


@pytest.mark.parametrize(
    ("suite", "order"),
    [
        ("bookworm", [MIRROR, DEBIAN, OLD]),
        ("bullseye", [DEBIAN, MIRROR, OLD]),
    ],
)
def test_this_machines_archives_come_first_and_before_them_those_it_has_the_suite_from(
    suite: str, order: list[str]
) -> None:
    assert in_order(suite, OWN, [f"{DEBIAN}/", OLD]) == order


def test_a_machine_without_archives_asks_those_of_the_definition() -> None:
    assert in_order("bullseye", (), [f"{DEBIAN}/", OLD, DEBIAN]) == [DEBIAN, OLD]


def test_a_suite_is_taken_with_its_updates_from_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        MIRROR: ["bookworm"],
        DEBIAN: ["bookworm", "bookworm-updates"],
        f"{MIRROR}-security": ["bookworm-security"],
    }
    asking(monkeypatch, known)
    # Another archive's updates may be for packages that this one does not have yet.
    assert find_sources("bookworm", [DEBIAN]) == [
        line(MIRROR, "bookworm"),
        line(f"{MIRROR}-security", "bookworm-security"),
    ]


def test_an_archive_for_security_updates_is_asked_once_whoever_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    beside = Target(archive=f"{DEBIAN}-security", suite="bookworm-security")
    archives = asking(monkeypatch, {DEBIAN: ["bookworm"]}, own=(beside, beside))
    assert find_sources("bookworm", [DEBIAN]) == [line(DEBIAN, "bookworm")]
    assert len(archives.asked) == len(set(archives.asked)) == 3


def test_an_old_suite_is_found_where_it_was_moved_to(monkeypatch: pytest.MonkeyPatch) -> None:
    asking(monkeypatch, {OLD: ["bullseye", "bullseye-updates"], PROXIED: ["bullseye-security"], DEBIAN: ["bookworm"]})
    assert find_sources("bullseye", [DEBIAN, OLD]) == [
        line(OLD, "bullseye"), line(OLD, "bullseye-updates"), line(PROXIED, "bullseye-security"),
    ]  # fmt: skip


def test_nothing_more_is_asked_once_a_suite_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    archives = asking(monkeypatch, {DEBIAN: ["bullseye"]}, own=())
    assert find_sources("bullseye", [DEBIAN, OLD]) == [line(DEBIAN, "bullseye")]
    assert not [url for url in archives.asked if url.startswith(f"{OLD}/")]


def test_a_suite_that_nobody_has_is_told_with_what_each_archive_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asking(monkeypatch, {MIRROR: ["bookworm"]})
    with pytest.raises(FetchError, match="no package archive has wheezy") as caught:
        find_sources("wheezy", [OLD])
    assert "base.bootstrap" in caught.value.hint
    assert caught.value.details.splitlines() == [
        f"{url}: 404  Not Found" for url in (f"{archive}/dists/wheezy/InRelease" for archive in (DEBIAN, MIRROR, OLD))
    ]
