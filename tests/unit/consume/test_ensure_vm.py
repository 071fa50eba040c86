"""The tool without a network: the image lies beside the manifest, or in the cache already."""

import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from ci import ensure_vm
from ci.host import files
from ci.host.errors import FetchError, HostError, InputError, RefusedError, VerificationError
from ci.records.manifest_rules import NO_IMAGE
from tests.support import consumer_model
from tests.support.consuming import DIGEST, FILE, IMAGE, NAME, Consumer, manifest
from tests.support.quiet import quiet_reporter

URL = f"https://example.org/releases/download/v2026.11.23/{FILE}"


@pytest.fixture
def consumer(tmp_path: Path) -> Consumer:
    return Consumer(tmp_path)


@pytest.fixture
def beside(consumer: Consumer) -> Consumer:
    """A workspace with the image beside its manifest."""
    consumer.write(manifest(FILE, size=len(IMAGE), version="v2026.11.23"))
    (consumer.manifest.parent / FILE).write_bytes(IMAGE)
    return consumer


def fill(consumer: Consumer, content: bytes = IMAGE) -> Path:
    path = consumer.cached()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_an_image_beside_the_manifest_is_copied_to_where_toolsmith_looks(beside: Consumer) -> None:
    result = beside.run()
    assert result["state"] == "copied"
    assert Path(result["path"]) == beside.cached() == consumer_model.hydrate(beside.workspace)
    assert (result["size"], result["sha256"], result["version"]) == (len(IMAGE), DIGEST, "v2026.11.23")
    assert beside.files() == {
        f".toolsmith/{FILE}",
        ".toolsmith/tools.json",
        str(beside.cached().relative_to(beside.workspace)),
    }


def test_an_absolute_path_is_followed(consumer: Consumer, tmp_path: Path) -> None:
    elsewhere = tmp_path / "store" / FILE
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(IMAGE)
    consumer.write(manifest(str(elsewhere)))
    assert consumer.run("--offline")["state"] == "copied"
    assert consumer.cached().read_bytes() == IMAGE


def test_what_is_there_is_verified_by_reading_it_once(beside: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fill(beside)
    read: list[int] = []

    def counted(file: IO[bytes], advance: Callable[[int], None]) -> str:
        read.append(os.fstat(file.fileno()).st_ino)
        return files.sha256_of(file, advance)

    monkeypatch.setattr("ci.consume.cache.sha256_of", counted)
    assert beside.run()["state"] == "cached"
    assert read == [path.stat().st_ino]


@pytest.mark.parametrize("content", [IMAGE[:-1], b"", bytes(len(IMAGE))], ids=["short", "empty", "altered"])
@pytest.mark.parametrize("size", [len(IMAGE), None])
def test_a_corrupt_cache_is_replaced(consumer: Consumer, content: bytes, size: int | None) -> None:
    document = manifest(FILE) if size is None else manifest(FILE, size=size)
    consumer.write(document)
    (consumer.manifest.parent / FILE).write_bytes(IMAGE)
    path = fill(consumer, content)
    assert consumer.run()["state"] == "copied"
    assert path.read_bytes() == IMAGE
    assert "not what the manifest promises" in consumer.said.getvalue()


def test_a_corrupt_image_that_cannot_be_replaced_does_not_stay(consumer: Consumer) -> None:
    consumer.write(manifest(URL))
    fill(consumer, b"corrupt")
    with pytest.raises(FetchError, match="--offline"):
        consumer.run("--offline")
    assert consumer.files() == {".toolsmith/tools.json"}


def test_a_link_to_nowhere_is_replaced(beside: Consumer) -> None:
    beside.cached().parent.mkdir(parents=True)
    beside.cached().symlink_to("nowhere")
    beside.run()
    assert beside.cached().read_bytes() == IMAGE
    assert not beside.cached().is_symlink()


def test_a_folder_in_the_images_place_is_left_alone(beside: Consumer) -> None:
    beside.cached().mkdir(parents=True)
    with pytest.raises(HostError, match="in the way"):
        beside.run()
    assert beside.cached().is_dir()


def test_another_image_under_its_name_is_refused_and_removed(consumer: Consumer) -> None:
    consumer.write(manifest(FILE))
    (consumer.manifest.parent / FILE).write_bytes(b"\0" * len(IMAGE))
    with pytest.raises(VerificationError, match=DIGEST):
        consumer.run()
    assert consumer.files() == {".toolsmith/tools.json", f".toolsmith/{FILE}"}


def test_an_image_of_another_size_is_refused_before_it_is_read(consumer: Consumer) -> None:
    consumer.write(manifest(FILE, size=len(IMAGE) + 1))
    (consumer.manifest.parent / FILE).write_bytes(IMAGE)
    with pytest.raises(VerificationError, match=f"has {len(IMAGE)} bytes, expected {len(IMAGE) + 1}"):
        consumer.run()
    assert consumer.files() == {".toolsmith/tools.json", f".toolsmith/{FILE}"}


def test_the_disk_is_looked_at_before_anything_else(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int = 10
        used: int = 10
        free: int = 999

    consumer.write(manifest(URL, size=1000))  # a request would trip the guard of the unit tests
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    with pytest.raises(HostError, match="free"):
        consumer.run()
    assert consumer.files() == {".toolsmith/tools.json"}


def test_a_bare_name_that_is_nowhere_says_so(consumer: Consumer) -> None:
    consumer.write(manifest(FILE))
    with pytest.raises(InputError, match="neither in the cache nor beside the manifest"):
        consumer.run()


def test_offline_means_no_request_at_all(consumer: Consumer) -> None:
    consumer.write(manifest(URL))
    with pytest.raises(FetchError, match="--offline"):
        consumer.run("--offline")
    with pytest.raises(InputError, match="--offline"):
        consumer.run("--offline", "--manifest", "https://example.org/tools.json")
    fill(consumer)
    assert consumer.run("--offline")["state"] == "cached"


def test_where_tells_and_does_nothing(consumer: Consumer) -> None:
    consumer.write(manifest(URL, size=7))
    before = consumer.files()
    result = consumer.run("--where")
    assert (result["path"], result["folder"]) == (str(consumer.cached()), str(consumer.cached().parent))
    assert (result["state"], result["size"], result["name"]) == ("absent", 7, NAME)
    assert consumer.files() == before
    fill(consumer)
    assert consumer.run("--where")["state"] == "present"


def test_without_json_the_path_is_all_that_is_printed(beside: Consumer) -> None:
    options = ensure_vm.arguments().parse_args(["--workspace", str(beside.workspace)])
    with redirect_stdout(io.StringIO()) as printed:
        ensure_vm.main(options, quiet_reporter(), environ={})
    assert printed.getvalue() == f"{beside.cached()}\n"


def test_another_manifest_can_be_named(beside: Consumer, tmp_path: Path) -> None:
    other = tmp_path / "other" / "tools.json"
    other.parent.mkdir()
    (other.parent / FILE).write_bytes(IMAGE)
    other.write_text(json.dumps(manifest(FILE)))
    beside.write(b"no manifest at all")
    assert beside.run("--manifest", str(other))["path"] == str(beside.cached())
    assert beside.run("--manifest", other.as_uri())["state"] == "cached"


def test_prune_removes_other_digests_of_the_image_and_nothing_else(beside: Consumer) -> None:
    root = beside.workspace / ".toolsmith" / "cache"
    old, kept = [root / NAME / (digit * 64) for digit in "ab"], [root / NAME / "notes", root / "other" / ("c" * 64)]
    for folder in [*old, *kept]:
        folder.mkdir(parents=True)
        (folder / FILE).write_bytes(b"x")
    link = root / NAME / ("d" * 64)
    link.symlink_to(root / "other" / ("c" * 64))
    assert beside.run()["removed"] == []
    assert all(folder.exists() for folder in old)
    assert beside.run("--prune")["removed"] == [str(folder) for folder in old]
    assert not any(folder.exists() for folder in old)
    assert all((folder / FILE).exists() for folder in [*kept, link])
    assert beside.cached().exists()


def test_nothing_is_pruned_where_the_new_image_could_not_be_had(consumer: Consumer) -> None:
    consumer.write(manifest(FILE))
    old = consumer.cached(digest="a" * 64)
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x")
    with pytest.raises(InputError):
        consumer.run("--prune")
    assert old.exists()


@pytest.mark.parametrize("image", [{}, {"name": "", "qcow2": "", "qcow2_sha256": ""}], ids=["today's", "the former"])
def test_an_unpublished_manifest_is_no_error_of_the_files(consumer: Consumer, image: dict[str, str]) -> None:
    consumer.write({"image": NO_IMAGE | image, "tools": {}, "operations": []})
    with pytest.raises(RefusedError, match="no image yet"):
        consumer.run()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "there is no .*tools.json"),
        (("--manifest", "/nonexistent/tools.json"), "No such file"),
        (("--manifest", "/dev/zero"), "is not a file"),
        (("--manifest", "https://[::1/tools.json"), "not a URL"),
        (("--manifest", "ftp://example.org/tools.json"), "not a URL"),
        (("--workspace", "/nonexistent"), "no folder"),
    ],
)
def test_a_manifest_that_is_not_there_is_an_input_error(consumer: Consumer, flags: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        consumer.run(*flags)
    assert consumer.files() == set()


def test_a_file_where_the_cache_should_be_is_the_hosts_fault(beside: Consumer) -> None:
    (beside.workspace / ".toolsmith" / "cache").write_text("")
    with pytest.raises(HostError):
        beside.run()
