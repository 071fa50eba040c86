from pathlib import Path

import pytest

from ci.comparison import lookup
from ci.comparison.image_facts import ComparedImage
from ci.comparison.lookup import Lookup
from ci.fetch.open_url import ANONYMOUS
from ci.host.errors import FetchError, InputError, VerificationError
from ci.records.packages import to_tsv
from ci.records.release import ReleaseRecord
from tests.support.quiet import quiet_reporter
from tests.support.releasing import PACKAGES, TAG, build_record, make_dist
from tests.unit.comparison.test_image_facts import files, release

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"


@pytest.fixture
def places(tmp_path: Path) -> Lookup:
    make_dist(tmp_path / "dist")
    (tmp_path / "releases").mkdir()
    return Lookup(
        dist=tmp_path / "dist",
        releases=tmp_path / "releases",
        server="https://github.com",
        repository="",
        client=ANONYMOUS,
        reporter=quiet_reporter(),
    )


def image(name: str | Path, places: Lookup) -> ComparedImage:
    found = places.find(str(name))
    assert isinstance(found, ComparedImage)
    return found


@pytest.mark.parametrize("given", ["{dist}/{stem}.build.json", "{stem}"])
def test_a_build_goes_by_its_record_or_by_its_name(given: str, places: Lookup) -> None:
    found = image(given.format(dist=places.dist, stem=STEM), places)
    assert (found.facts.version, found.packages) == (TAG, PACKAGES)
    assert found.checks is not None
    assert found.facts.source.endswith(f"{STEM}.build.json")


def test_a_build_that_was_not_tested_yet_is_one_too(places: Lookup) -> None:
    (places.dist / f"{STEM}.validation.json").unlink()
    found = image(STEM, places)
    assert found.checks is None
    assert found.packages == PACKAGES


def test_a_list_of_packages_is_known_by_its_content_or_its_name(places: Lookup, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(to_tsv(PACKAGES))
    assert image(path, places).packages == PACKAGES
    cut = tmp_path / "cut.packages.tsv"
    for content in ("", "pack", to_tsv(PACKAGES)[:-3]):
        cut.write_text(content)
        with pytest.raises(InputError, match="is not a list of packages"):
            image(cut, places)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"schema": 7}',
        '{"schema": "other/1"}',
        "\x00\x01",
        "[" * 100_000,
        build_record().to_json()[:99],
    ],
)
def test_a_file_of_another_kind_is_refused(content: str, places: Lookup, tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is neither a build, nor a release"):
        places.find(str(path))


def test_a_record_of_another_shape_is_refused(places: Lookup, tmp_path: Path) -> None:
    path = tmp_path / "strange.json"
    path.write_text('{"schema": "fountainkit-toolsmith-image/build/1", "name": 1}')
    with pytest.raises(InputError, match="is not a build record"):
        places.find(str(path))


def test_only_so_much_is_read_of_a_file(places: Lookup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "MAX_BYTES", 1000)
    path = tmp_path / "large"
    path.write_bytes(b"{" * 1001)
    with pytest.raises(FetchError, match="larger than the 1000 bytes"):
        places.find(str(path))


def test_a_tag_is_looked_for_among_the_records_here(places: Lookup) -> None:
    record = release(files())
    record.write(places.releases / f"{TAG}.json")
    assert places.find(TAG) == record
    record.write(places.releases / "v2026.11.24.json")
    with pytest.raises(VerificationError, match=f"the record of v2026.11.24 speaks of {TAG}"):
        places.find("v2026.11.24")


def test_a_tag_without_a_record_needs_a_repository(places: Lookup) -> None:
    with pytest.raises(InputError, match=r"has no record of v2026\.11\.24") as caught:
        places.find("v2026.11.24")
    assert "--repository" in caught.value.hint


@pytest.mark.parametrize("name", ["nothing", "v1.2.3", "v2026.02.30", "v/../../etc/passwd", "x" * 5000, "a\0b", ""])
def test_a_name_of_nothing_is_refused(
    name: str, places: Lookup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        places.find(name)


def test_a_records_urls_lead_to_no_local_file(places: Lookup, tmp_path: Path) -> None:
    record = release(files())
    local = [asset.model_copy(update={"url": (tmp_path / "x").as_uri()}) for asset in record.image.assets]
    evil = record.model_copy(update={"image": record.image.model_copy(update={"assets": local})})
    evil.write(places.releases / f"{TAG}.json")
    with pytest.raises(InputError, match="is not a release record"):
        places.find(TAG)


def two_images() -> ReleaseRecord:
    record = release({})
    other = record.image.model_copy(update={"definition": "jammy", "name": "fountainkit-toolsmith-ubuntu-2204"})
    return record.model_copy(update={"others": [other]})


def test_of_several_images_it_is_the_one_asked_for_else_the_one_the_other_side_has(places: Lookup) -> None:

    def name(image: str | None, like: set[str]) -> str | None:
        return places.choose(TAG, two_images(), image, like).facts.name

    ubuntu, debian = "fountainkit-toolsmith-ubuntu-2204", "fountainkit-toolsmith-debian-12"
    assert name(None, set()) == debian
    assert name(None, {ubuntu}) == ubuntu
    assert name("jammy", {debian}) == ubuntu
    with pytest.raises(InputError, match="has no image 'noble'") as caught:
        name("noble", set())
    assert "bookworm, jammy" in caught.value.hint
