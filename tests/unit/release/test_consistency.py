import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ci.github.context import Context
from ci.records.manifest_rules import UNPUBLISHED
from ci.records.release import ReleaseFacts, ReleaseRecord
from ci.release.consistency import FOLDER, Checkout, findings
from ci.release.dist import read_dist
from ci.release.proposal import release_record
from ci.release.targets import CHANGELOG, MANIFEST, own_files
from tests.support.answers import local
from tests.support.releasing import TAG, make_dist

OLDER = "v2026.11.22"
RECORD, PAGE = f"{FOLDER}/{TAG}.json", f"{FOLDER}/{TAG}.md"
IMAGE = {"name": "", "tarball": "", "sha256": "", "qcow2": "", "qcow2_sha256": "", "version": UNPUBLISHED, "size": 0}

Files = dict[str, str]
Change = Callable[[Files], object]


def first() -> Files:
    """As before the first release."""
    return {
        MANIFEST: json.dumps({"image": IMAGE, "tools": {}, "operations": []}),
        CHANGELOG: "# Releases\n\nNewest first.\n\nNothing is released yet.\n",
        f"{FOLDER}/README.md": "Records.\n",
        f"{FOLDER}/release.schema.json": "{}\n",
    }


def make_record(folder: Path, tag: str, previous: ReleaseRecord | None) -> ReleaseRecord:
    (image,) = read_dist(make_dist(folder / tag, tag=tag, image=f"QFI\xfb {tag}".encode()), version=None)
    context = Context(
        api_url="https://api.github.com", server_url="https://github.com", repository="o/r", commit=None, token=None
    )
    return release_record(
        context,
        (image,),
        local("ensure-vm.pyz"),
        previous=ReleaseFacts.of(previous) if previous else None,
        changes=None,
        run=None,
        attested=False,
    )


@pytest.fixture
def rolled_out(tmp_path: Path) -> Files:
    """After two roll-outs."""
    files = first()
    previous = None
    for tag in (OLDER, TAG):
        previous = make_record(tmp_path, tag, previous)
        files |= own_files(previous, previous.to_json(), files[MANIFEST], files[CHANGELOG])
    return files


def found(files: Mapping[str, str]) -> list[str]:
    releases = {path.removeprefix(f"{FOLDER}/"): text.encode() for path, text in files.items() if FOLDER in path[:8]}
    return list(findings(Checkout(manifest=files[MANIFEST].encode(), changelog=files[CHANGELOG], releases=releases)))


def test_the_state_before_the_first_release_is_consistent() -> None:
    assert found(first()) == []


def test_a_roll_out_keeps_it_so(rolled_out: Files) -> None:
    assert found(rolled_out) == []


def test_a_revert_of_the_first_roll_out_leads_back_to_it(tmp_path: Path) -> None:
    record = make_record(tmp_path, TAG, None)
    after = first() | own_files(record, record.to_json(), first()[MANIFEST], first()[CHANGELOG])
    assert found(after) == []
    # A revert that forgets a file does not.
    for path in (MANIFEST, CHANGELOG, RECORD, PAGE):
        forgotten = {name: text for name, text in after.items() if name in first() or name == path}
        assert found(forgotten | {name: text for name, text in first().items() if name != path}) != []


def edit(path: str, *keys: str | int, to: object) -> Change:
    """Set something in a JSON file."""

    def change(files: Files) -> None:
        document: Any = json.loads(files[path])
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        files[path] = json.dumps(document)

    return change


def replace(path: str, old: str, new: str) -> Change:
    def change(files: Files) -> None:
        assert old in files[path]
        files[path] = files[path].replace(old, new)

    return change


def remove(path: str) -> Change:
    return lambda files: files.pop(path)


def add(path: str, text: str) -> Change:
    return lambda files: files.update({path: text})


def copy(old: str, new: str) -> Change:
    return lambda files: files.update({new: files[old]})


def swap_entries(files: Files) -> None:
    head, newer, older = files[CHANGELOG].split("\n## ")
    files[CHANGELOG] = f"{head}\n## {older}\n## {newer}"


def repeat_entry(files: Files) -> None:
    files[CHANGELOG] += "\n## " + files[CHANGELOG].split("\n## ")[-1]


def drop_entry(files: Files) -> None:
    files[CHANGELOG] = "\n## ".join(files[CHANGELOG].split("\n## ")[:-1])


def without_digests(files: Files) -> None:
    files[CHANGELOG] = re.sub(r"[0-9a-f]{64}", ZEROS, files[CHANGELOG])


ZEROS = "0" * 64

# What is done to the files after two roll-outs, and what is said of it, with the file and the field.
CHANGES: dict[str, tuple[Change, str]] = {
    "another image in the manifest": (
        edit(MANIFEST, "image", "qcow2", to="https://example.org/x.qcow2"), f"{MANIFEST}: image.qcow2: 'https://exam",
    ),
    "another digest in the manifest": (
        edit(MANIFEST, "image", "qcow2_sha256", to=ZEROS), f"{MANIFEST}: image.qcow2_sha256: '{ZEROS}', but {RECORD}",
    ),
    "another size in the manifest": (edit(MANIFEST, "image", "size", to=1), f"{MANIFEST}: image.size: 1, but {RECORD}"),
    "another name in the manifest": (edit(MANIFEST, "image", "name", to="x"), f"{MANIFEST}: image.name: 'x', but"),
    "no version in the manifest": (edit(MANIFEST, "image", "version", to=""), f"{MANIFEST}: image.version: '' is not"),
    "a version without a record": (
        edit(MANIFEST, "image", "version", to="v2026.12.01"),
        f"{MANIFEST}: image.version: v2026.12.01 has no record, {FOLDER}/v2026.12.01.json",
    ),
    "an older version in the manifest": (
        edit(MANIFEST, "image", "version", to=OLDER), f"{MANIFEST}: image.version: {OLDER} is not the newest record",
    ),
    "a manifest taken back alone": (
        lambda files: files.update({MANIFEST: first()[MANIFEST]}), f"{MANIFEST}: image.qcow2: nothing is released",
    ),
    "a manifest that is none": (add(MANIFEST, "{"), MANIFEST),
    "a missing record": (remove(RECORD), f"{MANIFEST}: image.version: {TAG} has no record, {RECORD}"),
    "a missing page": (remove(PAGE), f"{RECORD}: {PAGE} is missing beside it"),
    "a record that is none": (add(RECORD, "[]"), f"{RECORD} is not a release record"),
    "a record of another schema": (
        edit(RECORD, "schema", to="fountainkit-toolsmith-image/release/9"), f"{RECORD} is a record of schema",
    ),
    "a further key in a record": (edit(RECORD, "note", to="x"), f"{RECORD} is not a release record"),
    "a record under another name": (
        copy(f"{FOLDER}/{OLDER}.json", RECORD), f"{RECORD}: tag: '{OLDER}', but the file's name says {TAG}",
    ),
    "a foreign file": (add(f"{FOLDER}/notes.txt", "x"), f"{FOLDER}/notes.txt: its name is not that of a release's"),
    "a page of no version": (add(f"{FOLDER}/v2026.02.30.md", "x"), f"{FOLDER}/v2026.02.30.md: its name is not"),
    "another page as the release's": (edit(RECORD, "url", to="https://example.org"), f"{RECORD}: url: 'https://exam"),
    "an asset from elsewhere": (
        edit(RECORD, "image", "assets", 2, "url", to="https://example.org"), f"{RECORD}: image.assets[2].url: 'https",
    ),
    "another name of an asset": (edit(RECORD, "ensure_vm", "name", to="x.pyz"), f"{RECORD}: ensure_vm.url: 'https://"),
    "an image that is no asset": (
        edit(RECORD, "image", "qcow2", "size", to=7), f"{RECORD}: image.qcow2: 'fountainkit-toolsmith-debian-12-{TAG}",
    ),
    "another digest of the previous image": (
        edit(RECORD, "previous", "qcow2_sha256", to=ZEROS),
        f"{RECORD}: previous.qcow2_sha256: '{ZEROS}', but {FOLDER}/{OLDER}.json has",
    ),
    "a previous one that is newer": (
        edit(RECORD, "previous", "tag", to="v2026.12.01"), f"{RECORD}: previous.tag: v2026.12.01 is not older",
    ),
    "a previous one that is none": (edit(RECORD, "previous", "tag", to="x"), f"{RECORD}: previous.tag: 'x' is not"),
    "a page of another release": (copy(f"{FOLDER}/{OLDER}.md", PAGE), f"{PAGE}: heading: it does not begin with {TAG}"),
    "a page without the digest": (add(PAGE, f"# {TAG}\n"), f"{PAGE}: SHA-256: it does not name the image's"),
    "no entry": (drop_entry, f"{CHANGELOG}: {OLDER}: there is no entry for {FOLDER}/{OLDER}.json"),
    "an entry without a record": (
        replace(CHANGELOG, f"## {OLDER}", "## v2026.11.21"), f"{CHANGELOG}: v2026.11.21: there is no {FOLDER}/v2026",
    ),
    "an entry without the digest": (
        without_digests, f"{CHANGELOG}: {TAG}: it does not name the image's SHA-256",
    ),
    "entries oldest first": (swap_entries, f"{CHANGELOG}: the entries are not newest first: {OLDER}, {TAG}"),
    "an entry twice": (repeat_entry, f"{CHANGELOG}: {OLDER}: there are 2 entries of it"),
    "a changelog that says that nothing is released": (
        replace(CHANGELOG, "Newest first.", "Nothing is released yet."), f"{CHANGELOG}: it still says",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_consistent_is_named_with_its_file_and_field(rolled_out: Files, name: str) -> None:
    change, words = CHANGES[name]
    change(rolled_out)
    said = found(rolled_out)
    assert [one for one in said if one.startswith(words)], said


def test_a_release_may_have_been_rolled_out_under_a_later_name_of_its_repository(rolled_out: Files) -> None:
    url = json.loads(rolled_out[MANIFEST])["image"]["qcow2"]
    edit(MANIFEST, "image", "qcow2", to=url.replace("/o/r/", "/later/name/"))(rolled_out)
    assert found(rolled_out) == []
    edit(MANIFEST, "image", "qcow2", to=url.replace("github.com", "example.org"))(rolled_out)
    assert found(rolled_out) != []


def test_a_file_that_comes_twice_in_a_record_is_named(rolled_out: Files) -> None:
    document = json.loads(rolled_out[RECORD])
    document["image"]["assets"].append(document["image"]["assets"][1])
    rolled_out[RECORD] = json.dumps(document)
    said = found(rolled_out)
    assert any(one.startswith(f"{RECORD}: image.assets[1].name: ") and "is there twice" in one for one in said)


def test_what_people_write_between_the_entries_is_theirs(rolled_out: Files) -> None:
    rolled_out[CHANGELOG] += "\nSome thoughts.\n\n### v2026.01.01 was the plan\n\nBut it came otherwise.\n"
    assert found(rolled_out) == []
