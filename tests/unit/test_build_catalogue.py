import json
from pathlib import Path
from typing import Any

import pytest

from ci import build_catalogue
from ci.build_catalogue import read_releases, site_url, write_folder
from ci.host import cli
from ci.host.errors import InputError, RefusedError
from ci.host.repository import ROOT
from tests.support.release_records import make_image, make_record, make_records, write

TAG = "v2026.11.23"
Json = dict[str, Any]
FILES = {"index.html": "page", "releases.json": "{}", "feed.xml": "feed"}


def run(releases: Path, output: Path) -> int:
    argv = [f"--releases={releases}", f"--output={output}", f"--log={output.parent / 'log'}"]
    return cli.run(build_catalogue.main, build_catalogue.arguments(), argv)


def test_the_records_of_this_repository_can_be_shown(tmp_path: Path) -> None:
    assert run(ROOT / "releases", tmp_path / "site") == 0


@pytest.mark.parametrize(
    ("given", "environ", "expected"),
    [
        (None, {}, None),
        (None, {"GITHUB_REPOSITORY": "Fountain/Image"}, "https://fountain.github.io/Image/"),
        (None, {"GITHUB_REPOSITORY": "Fountain/fountain.github.io"}, "https://fountain.github.io/"),
        (None, {"GITHUB_REPOSITORY": "o/n", "GITHUB_SERVER_URL": "https://git.example"}, None),
        ("https://images.example/x", {"GITHUB_REPOSITORY": "o/n"}, "https://images.example/x/"),
    ],
)
def test_the_site_is_the_one_named_or_that_of_the_repositorys_pages(
    given: str | None, environ: dict[str, str], expected: str | None
) -> None:
    assert site_url(given, environ) == expected


@pytest.mark.parametrize("given", ["", "feed", "http://images.example", "javascript:x", "https://x/?a", "https://x/#a"])
def test_what_is_no_site_is_refused(given: str) -> None:
    with pytest.raises(InputError, match="not the address of a site"):
        site_url(given, {})


def test_it_says_what_it_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(write(tmp_path / "releases", *make_records("v2026.11.16", "v2026.11.23")), tmp_path / "site") == 0
    assert "site/index.html: 2 releases" in capsys.readouterr().err


def test_a_broken_record_leaves_the_catalogue_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    releases = write(tmp_path / "releases", *make_records("v2026.11.16"))
    assert run(releases, tmp_path / "site") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()}
    (releases / "v2026.11.23.json").write_text("{")
    assert run(releases, tmp_path / "site") == 2
    assert "v2026.11.23.json" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "site").iterdir()} == before


def test_a_broken_record_leaves_nothing_where_nothing_was(tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    releases.mkdir()
    (releases / "v2026.11.23.json").write_text("{}")
    assert run(releases, tmp_path / "site") == 2
    assert not (tmp_path / "site").exists()


def spoil(folder: Path, **changes: object) -> Path:
    """A record of which some keys, given by their path with `__`, have other values."""
    path = write(folder, make_record(TAG)) / f"{TAG}.json"
    document = json.loads(path.read_text())
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(json.dumps(document))
    return path


def test_records_come_newest_first_and_what_lies_beside_them_is_passed_over(tmp_path: Path) -> None:
    tags = ["v2026.11.16", "v2026.11.16.2", "v2026.11.16.10", "v2026.11.23"]
    write(tmp_path, *make_records(*tags))
    (tmp_path / "README.md").write_text("words\n")
    (tmp_path / "v2026.11.16.md").write_text("words\n")
    (tmp_path / "release.schema.json").write_text("{}\n")
    assert [record.tag for record in read_releases(tmp_path)] == tags[::-1]


def test_a_folder_without_records_has_no_release(tmp_path: Path) -> None:
    assert read_releases(tmp_path) == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        read_releases(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": "fountainkit-toolsmith-image/release/99"}, "release/99"),
        ({"surprise": 1}, "release record"),
        ({"image__qcow2__sha256": "0"}, "release record"),
        ({"tag": "v2026.11.22"}, "the record of v2026.11.23 speaks of v2026.11.22"),
        ({"image__built_at": "2026-11-23T00:00:00"}, "image.built_at"),
        ({"image__qcow2__size": 0}, "is not among the image's assets"),
        ({"image__qcow2__size": -1}, "image.qcow2.size"),
        ({"image__qcow2__size": 1 << 60}, "image.qcow2.size"),
        ({"image__validation__ssh_seconds": {"full": -1.0}}, "image.validation.ssh_seconds.full"),
        ({"image__validation__ssh_seconds": {"full": float("nan")}}, "is not a number in JSON"),
        ({"image__validation__ssh_seconds": {"full": float("inf")}}, "is not a number in JSON"),
        ({"image__name": "../outside"}, "name: it is not the name of a folder"),
        ({"image__qcow2__url": "javascript:alert(1)"}, "image.qcow2.url"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_a_record_that_cannot_be_shown_is_named(tmp_path: Path, changes: Json, problem: str) -> None:
    path = spoil(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_releases(tmp_path)
    assert str(path) in caught.value.message
    assert problem in f"{caught.value.message}\n{caught.value.details}"
    assert caught.value.hint


def test_another_image_of_the_release_is_looked_at_too(tmp_path: Path) -> None:
    impossible = make_image(TAG).validation.model_copy(update={"ssh_seconds": {"full": -1.0}})
    record = make_record(TAG, others=[make_image(TAG, validation=impossible)])
    with pytest.raises(InputError) as caught:
        read_releases(write(tmp_path, record))
    assert "others.0.validation.ssh_seconds.full" in caught.value.message


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"tag": "v2026.11.23"}', "\xff"])
def test_what_is_no_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / f"{TAG}.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=f"{TAG}.json"):
        read_releases(tmp_path)


def test_a_name_that_is_no_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v2026.13.45.json").write_text("{}")
    with pytest.raises(InputError, match=r"cannot be shown: .*v2026\.13\.45\.json"):
        read_releases(tmp_path)


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_folder_is_made(tmp_path: Path) -> None:
    write_folder(tmp_path / "new/site", FILES)
    assert content(tmp_path / "new/site") == FILES
    assert (tmp_path / "new/site").stat().st_mode & 0o777 == 0o755
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["site"]


def test_an_older_catalogue_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_folder(tmp_path / "site", FILES | {"old.html": "old"})
    write_folder(tmp_path / "site", FILES | {"index.html": "newer"})
    assert content(tmp_path / "site") == FILES | {"index.html": "newer"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    write_folder(tmp_path / "site", FILES)
    assert content(tmp_path / "site") == FILES


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(RefusedError, match="something else than a catalogue"):
        write_folder(tmp_path, FILES)
    assert content(tmp_path) == {"index.html": "mine"}


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_is_no_folder_is_left_alone(tmp_path: Path, kind: str) -> None:
    output, target = tmp_path / "site", tmp_path / "target"
    if kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to(target)
    if kind == "link":
        target.mkdir()
    with pytest.raises(RefusedError, match="not a folder"):
        write_folder(output, FILES)
    assert output.is_symlink() or output.read_text() == "mine"


def test_where_the_new_one_cannot_take_its_place_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "site", FILES)
    rename = Path.rename

    def full(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "site", FILES | {"index.html": "newer"})
    assert content(tmp_path / "site") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
