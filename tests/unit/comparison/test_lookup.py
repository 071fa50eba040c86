from pathlib import Path

import pytest

from ci.comparison import lookup as named
from ci.comparison.image_facts import Side
from ci.comparison.lookup import Fetch, Named, Places, look_up
from ci.fetch.open_url import ANONYMOUS
from ci.host.errors import FetchError, InputError, VerificationError
from ci.host.progress import quiet_reporter
from ci.records.packages import to_tsv
from ci.records.release import ReleaseRecord
from tests.support.releasing import PACKAGES, TAG, build_record, make_dist
from tests.unit.comparison.test_image_facts import files, release

STEM = f"fountainkit-toolsmith-debian-12-{TAG}"
FETCH = Fetch(client=ANONYMOUS, reporter=quiet_reporter())


@pytest.fixture
def places(tmp_path: Path) -> Places:
    make_dist(tmp_path / "dist")
    (tmp_path / "releases").mkdir()
    return Places(dist=tmp_path / "dist", releases=tmp_path / "releases", server="https://github.com", repository="")


def side(name: str | Path, places: Places) -> Side:
    found = look_up(str(name), places, FETCH).found
    assert isinstance(found, Side)
    return found


@pytest.mark.parametrize(
    "given", ["{dist}", "{dist}/{stem}", "{dist}/{stem}.build.json", "{dist}/{stem}.qcow2", "{stem}"]
)
def test_a_build_goes_by_many_names(given: str, places: Places) -> None:
    found = side(given.format(dist=places.dist, stem=STEM), places)
    assert (found.facts.version, found.packages) == (TAG, PACKAGES)
    assert found.checks is not None
    assert found.facts.source.endswith(f"{STEM}.build.json")


def test_a_build_that_was_not_tested_yet_is_one_too(places: Places) -> None:
    (places.dist / f"{STEM}.validation.json").unlink()
    found = side(STEM, places)
    assert found.checks is None
    assert found.packages == PACKAGES


def test_a_list_of_packages_is_known_by_its_content_or_its_name(places: Places, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(to_tsv(PACKAGES))
    assert side(path, places).packages == PACKAGES
    cut = tmp_path / "cut.packages.tsv"
    for content in ("", "pack", to_tsv(PACKAGES)[:-3]):
        cut.write_text(content)
        with pytest.raises(InputError, match="is not a list of packages"):
            side(cut, places)


def test_a_folder_must_have_one_build(places: Places) -> None:
    make_dist(places.dist, tag="v2026.11.24")
    with pytest.raises(InputError, match="several builds") as caught:
        side(places.dist, places)
    assert f"{STEM}.build.json" in caught.value.hint
    with pytest.raises(InputError, match="no build in"):
        side(places.releases, places)
    (places.releases / "x.packages.tsv").write_text(to_tsv(PACKAGES))
    assert side(places.releases, places).packages == PACKAGES


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
def test_a_file_of_another_kind_is_refused(content: str, places: Places, tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is neither a build, nor a release"):
        look_up(str(path), places, FETCH)


def test_a_record_of_another_shape_is_refused(places: Places, tmp_path: Path) -> None:
    path = tmp_path / "strange.json"
    path.write_text('{"schema": "fountainkit-toolsmith-image/build/1", "name": 1}')
    with pytest.raises(InputError, match="is not a BuildRecord"):
        look_up(str(path), places, FETCH)


def test_only_so_much_is_read_of_a_file(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named, "LARGEST", 1000)
    path = tmp_path / "large"
    path.write_bytes(b"{" * 1001)
    with pytest.raises(FetchError, match="larger than the 1000 bytes"):
        look_up(str(path), places, FETCH)


def test_a_tag_is_looked_for_among_the_records_here(places: Places) -> None:
    record = release(files())
    record.write(places.releases / f"{TAG}.json")
    assert look_up(TAG, places, FETCH) == Named(source=TAG, found=record)
    record.write(places.releases / "v2026.11.24.json")
    with pytest.raises(VerificationError, match=f"the record of v2026.11.24 speaks of {TAG}"):
        look_up("v2026.11.24", places, FETCH)


def test_a_tag_without_a_record_needs_a_repository(places: Places) -> None:
    with pytest.raises(InputError, match=r"has no record of v2026\.11\.24") as caught:
        look_up("v2026.11.24", places, FETCH)
    assert "--repository" in caught.value.hint


@pytest.mark.parametrize("name", ["nothing", "v1.2.3", "v2026.02.30", "v/../../etc/passwd", "x" * 5000, "a\0b", ""])
def test_a_name_of_nothing_is_refused(
    name: str, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        look_up(name, places, FETCH)


def test_a_records_urls_lead_to_no_local_file(places: Places, tmp_path: Path) -> None:
    record = release(files())
    local = [asset.model_copy(update={"url": (tmp_path / "x").as_uri()}) for asset in record.image.assets]
    evil = record.model_copy(update={"image": record.image.model_copy(update={"assets": local})})
    evil.write(places.releases / f"{TAG}.json")
    with pytest.raises(InputError, match="which is no web address"):
        look_up(TAG, places, FETCH).side(None, set(), FETCH)


def two_images() -> ReleaseRecord:
    record = release({})
    other = record.image.model_copy(update={"definition": "jammy", "name": "fountainkit-toolsmith-ubuntu-2204"})
    return record.model_copy(update={"others": [other]})


def test_of_several_images_it_is_the_one_asked_for_else_the_one_the_other_side_has() -> None:
    found = Named(source=TAG, found=two_images())

    def name(image: str | None, like: set[str]) -> str | None:
        return found.side(image, like, FETCH).facts.name

    ubuntu, debian = "fountainkit-toolsmith-ubuntu-2204", "fountainkit-toolsmith-debian-12"
    assert name(None, set()) == debian
    assert name(None, {ubuntu}) == ubuntu
    assert name("jammy", {debian}) == ubuntu
    with pytest.raises(InputError, match="has no image 'noble'") as caught:
        name("noble", set())
    assert "bookworm, jammy" in caught.value.hint
