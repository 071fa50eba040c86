"""Every manifest that this project writes, in every state of a workspace, goes through Toolsmith without loss."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ci.consume.localize import localized
from ci.consume.wanted import ManifestFile, wanted_image
from ci.github.context import Context
from ci.host.repository import ROOT
from ci.records.manifest_edit import replace_image
from ci.records.manifest_rules import NO_IMAGE, is_published, read_manifest, toolsmith_obstacle
from ci.records.release import Form, ReleaseRecord, image_fields, whole_manifest
from ci.rehearse import CONSUMER_EXAMPLE, FIRST_MANIFEST
from ci.release.dist import read_dist
from ci.release.proposal import release_record, write_own_files
from ci.release.targets import CHANGELOG, MANIFEST, own_files
from tests.support.answers import local
from tests.support.consumer_model import HydrationError, Toolsmith, decode
from tests.support.consuming import contents, fill
from tests.support.releasing import make_dist

IMAGE = b"QFI\xfb an image"
FORMS: tuple[Form, ...] = ("url", "file")
TAGS = ("v2026.11.22", "v2026.11.23")
EMPTY = {"name": "", "qcow2": "", "qcow2_sha256": ""}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[ReleaseRecord]:
    """Of two releases."""
    context = Context(
        api_url="https://api.github.com", server_url="https://github.com", repository="o/r", commit=None, token=None
    )
    made = []
    for tag in TAGS:
        images = read_dist(make_dist(tmp_path_factory.mktemp(tag), tag=tag, image=IMAGE + tag.encode()), version=None)
        tool = local("ensure-vm.pyz")
        made.append(release_record(context, images, tool, previous=None, changes=None, run=None, attested=False))
    return made


def unpublished() -> Iterator[tuple[str, str]]:
    """What is there before any release: today's, a consumer's, and what earlier versions of this project wrote."""
    yield "committed", (ROOT / MANIFEST).read_text(encoding="utf-8")
    yield "rehearsed", FIRST_MANIFEST
    yield "rehearsed for a consumer", CONSUMER_EXAMPLE
    for words, stale in (("", {}), (" with a stale address", {"qcow2_url": "https://example.org/older.qcow2"})):
        document = {"image": NO_IMAGE | EMPTY | stale, "tools": {}, "operations": []}
        yield f"of before{words}", json.dumps(document)


def localize(text: str, record: ReleaseRecord) -> str:
    manifest = ManifestFile(
        location=Path("tools.json"), data=text.encode(), document=read_manifest(text.encode(), "tools.json")
    )
    return localized(text, wanted_image(manifest), record.image.qcow2.size, "tools.json")


def written(records: list[ReleaseRecord], folder: Path) -> Iterator[tuple[str, str, ReleaseRecord | None]]:
    """Each writer on what each could find, and the release that it names."""
    first, second = records
    before = dict(unpublished())
    yield from ((name, text, None) for name, text in before.items() if "of before" not in name)
    snippet, _ = write_own_files(first, folder)
    yield "snippet", snippet.path.read_text(), first
    for form in FORMS:
        yield f"made {form}", whole_manifest(first, form), first
    found = [*before.items(), *((f"made {form}", whole_manifest(first, form)) for form in FORMS)]
    found += [(f"{name}, localized", localize(text, first)) for name, text in found[-2:]]
    log = (ROOT / CHANGELOG).read_text(encoding="utf-8")
    for name, text in found:
        ours = own_files(second, second.to_json(), text, log)[MANIFEST]
        assert "qcow2_url" not in read_manifest(ours.encode(), name)["image"]
        theirs = [(form, replace_image(text, image_fields(second, form), name)) for form in FORMS]
        for writer, result in [("ours", ours), *theirs]:
            yield f"{name}, rolled out: {writer}", result, second
            yield f"{name}, rolled out: {writer}, localized", localize(result, second), second


def states(record: ReleaseRecord) -> dict[str, Mapping[str, bytes]]:
    """What may be in a workspace, beside things of its own: the image, a wrong one, an older one, a copy."""
    image, data = record.image, IMAGE + record.tag.encode()
    folder = f".toolsmith/cache/{image.name}"
    cached = f"{folder}/{image.qcow2.sha256}/{image.qcow2.name}"
    mine = {"README.md": b"mine", ".toolsmith/notes": b"mine", ".toolsmith/cache/.gitignore": b"*\n"}
    mine |= {f"{folder}/{'a' * 64}/older.qcow2": b"older", ".toolsmith/cache/another/b/image.qcow2": b"another"}
    return {
        "cold": mine,
        "cached": {**mine, cached: data},
        "corrupted": {**mine, cached: b"x"},
        "beside": {**mine, f".toolsmith/{image.qcow2.name}": data, image.qcow2.name: data},
        "beside and wrong": {**mine, f".toolsmith/{image.qcow2.name}": b"x", image.qcow2.name: b"x"},
        "beside and corrupted": {**mine, cached: b"x", f".toolsmith/{image.qcow2.name}": data, image.qcow2.name: data},
        "empty": {},
    }


def test_none_costs_anything_but_a_wrong_image(
    records: list[ReleaseRecord], tmp_path: Path, subtests: pytest.Subtests
) -> None:
    for number, (name, text, record) in enumerate(written(records, tmp_path)):
        with subtests.test(manifest=name):
            for state, files in states(record or records[0]).items():
                for place in (".toolsmith", "."):
                    go_through(tmp_path / f"{number} {state} {place}", place, text, files, record)


def go_through(
    workspace: Path, place: str, text: str, files: Mapping[str, bytes], record: ReleaseRecord | None
) -> None:
    (workspace / "tmp").mkdir(parents=True)
    fill(workspace, {**files, f"{place}/tools.json": text.encode()})
    image = decode(text.encode()).image
    web = {record.image.qcow2.url: IMAGE + record.tag.encode()} if record else {}
    client = Toolsmith(workspace / place if place != "." else workspace, temporary=workspace / "tmp", web=web)
    cached, before = str(client.cached(image).relative_to(workspace)), contents(workspace)
    run = client.run()
    after = contents(workspace)
    own = f".toolsmith/cache/{image.name}/{image.qcow2_sha256}/"
    downloaded = {one for one in after if one.startswith("tmp/")}
    assert {one for one in before if after.get(one) != before[one]} <= {cached, "tmp/"}
    assert set(after) - set(before) - downloaded <= {cached, own}
    obstacle = toolsmith_obstacle(read_manifest(text.encode(), "tools.json"))
    named = record is not None and image.qcow2 == record.image.qcow2.name
    assert (obstacle is None) == named
    assert len(client.asked) == len(downloaded - {"tmp/"}) == (1 if record and not named else 0)
    if record is None:
        assert not is_published(read_manifest(text.encode(), "tools.json")["image"])
    # What could be had is had: from the cache, where a good one stays, or from beside the manifest.
    good = IMAGE + record.tag.encode() if record else b""
    assert before.get(cached) != good or after[cached] == good
    beside = before.get(f"{place}/{image.qcow2}".removeprefix("./"))
    assert (run.backend == "vm") == (named and good in {before.get(cached), beside})


def test_the_former_unpublished_form_is_what_none_of_them_is(tmp_path: Path) -> None:
    """The test above can fail: with that one it would."""
    text = json.dumps({"image": NO_IMAGE | EMPTY, "tools": {}, "operations": []})
    fill(tmp_path, {".toolsmith/tools.json": text.encode(), ".toolsmith/cache/another/b/image.qcow2": b"another"})
    with pytest.raises(HydrationError):
        Toolsmith(tmp_path / ".toolsmith").hydrate()
    assert not (tmp_path / ".toolsmith/cache/another").exists()
