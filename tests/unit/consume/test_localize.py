"""The manifest that today's Toolsmith can hydrate."""

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.consume.localize import localize, localized
from ci.consume.wanted import ManifestFile, Wanted
from ci.host.errors import InputError, RefusedError
from ci.records.manifest_rules import SHAPES
from tests.support import consumer_model
from tests.support.consuming import DIGEST, FILE, IMAGE, NAME, Consumer, manifest

URL = f"https://example.org/releases/download/v2026.11.23/{FILE}"
WANTED = Wanted(name=NAME, file=FILE, sha256=DIGEST, size=None, version="v2026.11.23", source=URL)


@pytest.fixture
def consumer(tmp_path: Path) -> Consumer:
    """A workspace whose manifest has a URL, and whose cache has the image already."""
    result = Consumer(tmp_path / "workspace")
    result.write(manifest(URL))
    result.cached().parent.mkdir(parents=True)
    result.cached().write_bytes(IMAGE)
    return result


def test_what_toolsmith_cannot_hydrate_it_can_afterwards(consumer: Consumer) -> None:
    with pytest.raises(consumer_model.HydrationError):
        consumer_model.hydrate(consumer.workspace)
    assert consumer.run("--localize")["written"] == str(consumer.manifest)
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()


def test_every_byte_but_the_name_stays_and_the_url_is_remembered(consumer: Consumer) -> None:
    before = consumer.manifest.read_text()
    consumer.run("--localize")
    lines = consumer.manifest.read_text().splitlines()
    expected = before.replace(json.dumps(URL), json.dumps(FILE)).splitlines()
    place = next(number for number, line in enumerate(expected) if '"qcow2_sha256"' in line)
    expected[place] += ","
    expected.insert(place + 1, f'        "qcow2_url": "{URL}"')
    assert lines == expected


def test_a_second_time_writes_nothing(consumer: Consumer) -> None:
    consumer.run("--localize")
    before = consumer.manifest.stat()
    assert consumer.run("--localize")["written"] is None
    after = consumer.manifest.stat()  # when it was last read may have changed
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_emptied_cache_is_known_how_to_fill_again(consumer: Consumer) -> None:
    consumer.run("--localize")
    consumer.cached().unlink()
    assert consumer.run("--where")["path"] == str(consumer.cached())
    with pytest.raises(Exception, match="--offline forbids"):
        consumer.run("--offline")


def test_a_workspace_without_a_manifest_gets_a_copy(consumer: Consumer, tmp_path: Path) -> None:
    other = tmp_path / "release" / "tools.json"
    other.parent.mkdir()
    consumer.manifest.rename(other)
    consumer.run("--localize", "--manifest", str(other))
    assert consumer_model.hydrate(consumer.workspace) == consumer.cached()
    assert json.loads(other.read_text())["image"]["qcow2"] == URL


def test_another_manifests_image_comes_into_the_workspaces_and_nothing_else_of_it(
    consumer: Consumer, tmp_path: Path
) -> None:
    other = tmp_path / "release.json"
    other.write_text(json.dumps(manifest(URL, version="v2026.11.23", size=len(IMAGE), tarball="other.tar")))
    mine = {**manifest("old.qcow2", qcow2_sha256="a" * 64, size=7, version="v2026.01.01", sha256="b" * 64), "tools": {}}
    consumer.write(mine)
    consumer.run("--localize", "--manifest", str(other))
    mine["image"] |= {
        "qcow2": FILE, "qcow2_sha256": DIGEST, "size": len(IMAGE), "version": "v2026.11.23", "qcow2_url": URL,
    }  # fmt: skip
    assert json.loads(consumer.manifest.read_text()) == mine


def test_a_link_stays_a_link_and_permissions_stay(consumer: Consumer) -> None:
    real = consumer.workspace / "tools.json"
    consumer.manifest.rename(real)
    consumer.manifest.symlink_to(real)
    real.chmod(0o664)
    consumer.run("--localize")
    assert consumer.manifest.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o664
    assert json.loads(real.read_text())["image"]["qcow2"] == FILE


@pytest.mark.parametrize("there", [True, False])
def test_a_link_out_of_the_workspace_is_not_followed(consumer: Consumer, tmp_path: Path, *, there: bool) -> None:
    other = tmp_path / "others.json"
    data = consumer.manifest.read_bytes()
    consumer.manifest.unlink()
    consumer.manifest.symlink_to(other)
    if there:
        other.write_bytes(data)
    with pytest.raises(InputError, match=r"tools\.json .* link to .*others\.json, which is not in the workspace"):
        consumer.run("--localize")
    assert (other.read_bytes() if other.exists() else None) == (data if there else None)


def test_a_manifest_of_the_workspace_that_is_named_is_the_one_that_is_edited(consumer: Consumer) -> None:
    named = consumer.workspace / "images" / "tools.json"
    named.parent.mkdir()
    named.write_bytes(consumer.manifest.read_bytes())
    before = consumer.manifest.read_bytes()
    assert consumer.run("--localize", "--manifest", str(named))["written"] == str(named)
    assert json.loads(named.read_bytes())["image"]["qcow2"] == FILE
    assert consumer.manifest.read_bytes() == before


def test_where_a_file_of_this_machine_came_from_is_remembered(consumer: Consumer, tmp_path: Path) -> None:
    store = tmp_path / "st%20ore" / "images"
    store.mkdir(parents=True)
    (store / FILE).write_bytes(IMAGE)
    release = tmp_path / "st%20ore" / "tools.json"
    release.write_text(json.dumps(manifest(f"images/{FILE}")))
    for flags, document in ((["--manifest", str(release)], manifest(URL)), ([], manifest(str(store / FILE)))):
        consumer.write(document)
        consumer.run("--localize", *flags)
        assert json.loads(consumer.manifest.read_bytes())["image"]["qcow2_url"] == str(store / FILE)
        consumer.cached().unlink()
        assert consumer.run("--localize", "--offline")["state"] == "copied"
        assert json.loads(consumer.manifest.read_bytes())["image"]["qcow2_url"] == str(store / FILE)


def test_a_file_beside_the_manifest_does_not_make_it_forget_the_url(consumer: Consumer) -> None:
    consumer.run("--localize")
    before = consumer.manifest.read_bytes()
    (consumer.manifest.parent / FILE).write_bytes(IMAGE)
    assert consumer.run("--localize")["written"] is None
    assert consumer.manifest.read_bytes() == before


def test_what_somebody_else_writes_meanwhile_is_not_overwritten(
    consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ManifestFile(location=consumer.manifest, data=consumer.manifest.read_bytes(), document=manifest(URL))
    theirs = json.dumps({**manifest(URL), "owner": "somebody else"}).encode()

    def slowly(text: str, wanted: Wanted, size: int, where: str) -> str:
        consumer.manifest.write_bytes(theirs)
        return localized(text, wanted, size, where)

    monkeypatch.setattr("ci.consume.localize.localized", slowly)
    with pytest.raises(RefusedError, match="changed"):
        localize(read, WANTED, len(IMAGE), consumer.workspace)
    assert consumer.manifest.read_bytes() == theirs


def test_a_workspaces_broken_manifest_is_not_repaired_by_the_way(consumer: Consumer, tmp_path: Path) -> None:
    other = tmp_path / "release.json"
    consumer.manifest.rename(other)
    consumer.write(b'{"image": 7}')
    with pytest.raises(InputError):
        consumer.run("--localize", "--manifest", str(other))
    assert consumer.manifest.read_bytes() == b'{"image": 7}'


texts = st.text(max_size=8)  # without surrogates, which are no text


@given(
    others=st.dictionaries(texts.filter(lambda key: key not in SHAPES), texts, max_size=3),
    tools=st.dictionaries(texts, texts, max_size=3),
    indent=st.sampled_from([None, 1, 4, "\t"]),
    ends=st.sampled_from(["\n", "\r\n"]),
    version=st.sampled_from(["", "v2026.11.23"]),
)
def test_the_consumer_reads_it_and_all_that_is_others_is_kept(
    others: dict[str, str], tools: dict[str, str], indent: int | str | None, ends: str, version: str
) -> None:
    document = {**others, **manifest(URL, version=version), "tools": tools}
    text = json.dumps(document, indent=indent).replace("\n", ends)
    result = localized(text, WANTED, len(IMAGE), "tools.json")
    read = consumer_model.decode(result.encode())
    assert (read.image.qcow2, read.image.qcow2_sha256, read.tools) == (FILE, DIGEST, tools)
    document["image"] |= {"qcow2": FILE, "qcow2_url": URL, "version": "v2026.11.23"}
    assert json.loads(result) == document
    assert localized(result, WANTED, len(IMAGE), "tools.json") == result


@pytest.mark.parametrize("flags", [(), ("--localize",)], ids=["plain", "localized"])
@pytest.mark.parametrize("reference", [URL, FILE, f"images/{FILE}", "ABSOLUTE"])
def test_it_is_told_whether_toolsmith_can_use_the_manifest(
    consumer: Consumer, tmp_path: Path, reference: str, flags: tuple[str, ...]
) -> None:
    consumer.write(manifest(reference.replace("ABSOLUTE", str(tmp_path / FILE)), qcow2_url=URL))
    why = consumer.run(*flags)["obstacle"]
    told = " ".join(consumer.said.getvalue().split())
    hydrated = None
    with suppress(Exception):  # whichever of its errors
        hydrated = consumer_model.hydrate(consumer.workspace)
    if reference == FILE or flags:
        assert (why, hydrated) == (None, consumer.cached())
        assert f"Toolsmith can use {consumer.manifest} as it stands, started with imageDirectory" in told
    else:
        assert hydrated is None
        assert f"today's Toolsmith cannot use {consumer.manifest} as it stands: {why}" in told
        assert "--localize" in why


def test_toolsmith_reads_two_places_and_no_other(consumer: Consumer, tmp_path: Path) -> None:
    for place in (consumer.workspace / "tools.json", tmp_path / "tools.json", consumer.workspace / "other.json"):
        place.write_text(json.dumps(manifest(FILE)))
        why = consumer.run("--manifest", str(place))["obstacle"]
        assert (why is None) == (place == consumer.workspace / "tools.json")
        assert why is None or "it reads .toolsmith/tools.json, or tools.json, of the workspace" in why
    assert consumer.run("--manifest", str(tmp_path / "tools.json"), "--localize")["obstacle"] is None
    assert (
        "move it there" in consumer.run("--manifest", str(consumer.workspace / "other.json"), "--localize")["obstacle"]
    )


def test_on_a_mac_toolsmith_has_no_qemu(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.uname", lambda: SimpleNamespace(sysname="Darwin"))
    why = consumer.run("--localize")["obstacle"]
    assert "by hand" in why
    assert "on Apple Silicon, where hvf runs no x86-64, -accel tcg" in why


def test_a_comma_in_the_path_is_told_because_toolsmith_does_not_escape_it(tmp_path: Path) -> None:
    consumer = Consumer(tmp_path / "a,b")
    consumer.write(manifest(FILE))
    (consumer.manifest.parent / FILE).write_bytes(IMAGE)
    assert "comma" in consumer.run()["obstacle"]
