import json
from pathlib import Path

import pytest

from ci.github.context import Context
from ci.host.errors import InputError, RefusedError
from ci.host.repository import ROOT
from ci.records.manifest_rules import Document, read_manifest
from ci.records.release import ReleaseRecord
from ci.records.version import Version
from ci.release.dist import read_dist
from ci.release.proposal import release_record
from ci.release.targets import CONSUMER_MANIFEST, MANIFEST, ConsumerManifest, is_rolled_out, manifest_version
from tests.support.answers import local
from tests.support.releasing import TAG, make_dist

NO_OTHER = "o/r".__eq__
OTHER = "https://mirror.example.org/image.qcow2"


@pytest.fixture
def record(tmp_path: Path) -> ReleaseRecord:
    images = read_dist(make_dist(tmp_path / "dist"), version=None)
    context = Context(
        api_url="https://api.github.com", server_url="https://github.com", repository="o/r", commit=None, token="t" * 40
    )
    ensure_vm = local("ensure-vm.pyz")
    return release_record(context, images, ensure_vm, previous=None, changes=None, run=None, attested=False)


def manifest(**image: object) -> Document:
    known = {"name": "x", "tarball": "", "sha256": "", "qcow2": "image.qcow2", "qcow2_sha256": "0" * 64}
    document = json.dumps({"image": known | image, "tools": {}, "operations": []})
    result: Document = read_manifest(document.encode(), "a test")["image"]
    return result


def url(tag: str) -> str:
    return f"https://github.com/o/r/releases/download/{tag}/image.qcow2"


def rolled_out(record: ReleaseRecord, **changes: object) -> Document:
    qcow2 = record.image.qcow2
    return manifest(**({"qcow2": qcow2.url, "qcow2_sha256": qcow2.sha256, "version": record.tag} | changes))


def test_the_committed_manifest_is_of_no_version_before_the_first_release() -> None:
    committed = read_manifest((ROOT / MANIFEST).read_bytes(), MANIFEST)["image"]
    assert committed["qcow2"] or manifest_version(committed) is None


def test_a_manifest_tells_its_version() -> None:
    assert manifest_version(manifest(version=TAG)) == Version.parse(TAG)


@pytest.mark.parametrize("tag", [TAG, f"{TAG}.2"])
def test_fountainkits_tells_it_by_the_address(tag: str) -> None:
    assert manifest_version(manifest(qcow2=url(tag))) == Version.parse(tag)


@pytest.mark.parametrize("qcow2", [url("nightly"), url("v2026.02.30"), OTHER, "image.qcow2", f"{url(TAG)}/more"])
def test_another_address_tells_none(qcow2: str) -> None:
    assert manifest_version(manifest(qcow2=qcow2)) is None


@pytest.mark.parametrize(
    "image", [{}, {"version": "v2026.11.22"}, {"qcow2": url("v2026.11.22")}, {"qcow2": url("nightly")}]
)
def test_an_older_manifest_or_one_of_no_version_is_to_be_changed(record: ReleaseRecord, image: dict[str, str]) -> None:
    assert not is_rolled_out(manifest(**image), record, NO_OTHER)


def test_one_that_points_to_the_release_is_done(record: ReleaseRecord) -> None:
    assert is_rolled_out(rolled_out(record), record, NO_OTHER)
    assert is_rolled_out(rolled_out(record, version=""), record, NO_OTHER)


def test_one_that_names_it_by_its_file_is_done_too(record: ReleaseRecord) -> None:
    qcow2 = record.image.qcow2
    named = rolled_out(record, qcow2=qcow2.name, qcow2_url=qcow2.url)
    assert is_rolled_out(named, record, NO_OTHER)
    assert is_rolled_out(named | {"version": ""}, record, NO_OTHER)
    for other in ({"qcow2_url": OTHER}, {"qcow2_url": ""}, {"qcow2": "another.qcow2"}):
        with pytest.raises(RefusedError, match="with another URL or digest"):
            is_rolled_out(named | other, record, NO_OTHER)


def test_what_an_earlier_image_left_tells_nothing(record: ReleaseRecord) -> None:
    stale = {"qcow2_url": url("v2027.01.01")}
    assert is_rolled_out(rolled_out(record, **stale), record, NO_OTHER)
    assert manifest_version(manifest(qcow2="mine.qcow2", **stale)) is None


def test_one_that_points_to_it_by_a_former_name_of_the_repository_is_done(record: ReleaseRecord) -> None:
    former = record.image.qcow2.url.replace("/o/r/", "/former/name/")
    assert is_rolled_out(rolled_out(record, qcow2=former), record, "former/name".__eq__)
    for other in (former, former.replace("https://github.com", "https://example.org"), f"{former}.bak"):
        with pytest.raises(RefusedError, match="with another URL or digest"):
            is_rolled_out(rolled_out(record, qcow2=other), record, NO_OTHER)


@pytest.mark.parametrize("image", [{"version": f"{TAG}.1"}, {"qcow2": url("v2027.01.01")}])
def test_one_that_points_to_a_newer_release_is_not_turned_back(record: ReleaseRecord, image: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match=f"which is newer than {TAG}"):
        is_rolled_out(manifest(**image), record, NO_OTHER)


@pytest.mark.parametrize("image", [{"qcow2_sha256": "0" * 64}, {"qcow2": OTHER}])
def test_one_that_differs_in_address_or_digest_is_a_persons_to_look_at(
    record: ReleaseRecord, image: dict[str, str]
) -> None:
    with pytest.raises(RefusedError, match="with another URL or digest"):
        is_rolled_out(rolled_out(record, **image), record, NO_OTHER)


def test_the_settings_of_fountainkits_manifest() -> None:
    read = ConsumerManifest.from_environment
    assert read({"FOUNTAINKIT_MANIFEST": "", "FOUNTAINKIT_FORM": ""}) == read({}) == ConsumerManifest()
    assert read({"FOUNTAINKIT_FORM": "file"}) == ConsumerManifest(form="file")
    for path, workspace in {
        CONSUMER_MANIFEST: ".",
        "tools.json": ".",
        "a/tools.json": "a",
        "a-1/.toolsmith/tools.json": "a-1",
        ".github/tools.json": ".github",
        "a..b/.gitx/tools.json": "a..b/.gitx",
    }.items():
        found = read({"FOUNTAINKIT_MANIFEST": path})
        assert (found.path, found.create, found.workspace) == (path, True, workspace)


@pytest.mark.parametrize("form", ["oci", "URL", " file", "file\n", "url,file"])
def test_a_form_that_is_none_is_refused(form: str) -> None:
    with pytest.raises(InputError, match="FOUNTAINKIT_FORM is"):
        ConsumerManifest.from_environment({"FOUNTAINKIT_FORM": form})


@pytest.mark.parametrize(
    "path",
    [
        *("/tools.json", "../tools.json", "a/../tools.json", "./tools.json", "a/./tools.json", "a//tools.json"),
        *(".git/tools.json", "a/.GIT/tools.json", "tools.json/", "TOOLS.JSON", "tools.json\n", "a\ntools.json"),
        *("a\\tools.json", "a b/tools.json", "ü/tools.json", "C:/tools.json", "git~1/tools.json", "\x1b/tools.json"),
        *("manifest.json", ".github/workflows/release.yml", "https://x/tools.json", ".toolsmith", ".", " "),
        *(f"{'a/' * 9}tools.json", f"{'a' * 101}/tools.json"),
    ],
)
def test_a_path_that_no_manifest_has_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="FOUNTAINKIT_MANIFEST is"):
        ConsumerManifest.from_environment({"FOUNTAINKIT_MANIFEST": path})
