from pathlib import Path
from typing import Any

import pytest

from ci.consume.wanted import ManifestFile, Wanted, wanted_image
from ci.host.errors import InputError
from tests.support.consuming import DIGEST, FILE, IMAGE, manifest

HERE = "https://example.org/releases/v1/tools.json?token=1"
URL = f"https://example.org/store/{FILE}"


def wanted(document: dict[str, Any], location: Path | str) -> Wanted:
    return wanted_image(ManifestFile(location=location, data=b"", document=document))


@pytest.mark.parametrize(
    ("reference", "file"),
    [
        (URL, FILE),
        (f"{URL}?sig=a/b#c", FILE),
        ("https://example.org/a%20b%C3%BC.qcow2", "a bü.qcow2"),
        ("http://localhost:4010/image.qcow2", "image.qcow2"),
        ("https://example.org/a%2Fb.qcow2", "b.qcow2"),
    ],
)
def test_the_file_is_called_as_the_last_part_of_the_url(reference: str, file: str) -> None:
    found = wanted(manifest(reference), HERE)
    assert (found.file, found.source, found.from_web) == (file, reference, True)


def test_what_the_manifest_does_not_tell_is_not_invented() -> None:
    found = wanted(manifest(URL), HERE)
    assert (found.size, found.version, found.sha256) == (None, "", DIGEST)


def test_beside_a_manifest_from_the_network_is_on_the_network() -> None:
    assert wanted(manifest(FILE), HERE).source == f"https://example.org/releases/v1/{FILE}"
    assert wanted(manifest("images/a b.qcow2"), HERE).source == "https://example.org/releases/v1/images/a%20b.qcow2"


@pytest.mark.parametrize("reference", ["/etc/passwd", f"//elsewhere.example/{FILE}"])
def test_a_manifest_from_the_network_names_no_file_of_this_machine(reference: str) -> None:
    with pytest.raises(InputError, match="this machine"):
        wanted(manifest(reference), HERE)


def test_beside_a_manifest_on_disk_is_on_disk(tmp_path: Path) -> None:
    image = tmp_path / "images" / "a b.qcow2"
    assert wanted(manifest("images/a b.qcow2"), tmp_path / "tools.json").source is None
    image.parent.mkdir()
    image.write_bytes(IMAGE)
    found = wanted(manifest("images/a b.qcow2"), tmp_path / "tools.json")
    assert (found.file, found.source, found.from_web) == ("a b.qcow2", image.as_uri(), False)


def test_a_remembered_url_is_for_the_file_of_that_name_only(tmp_path: Path) -> None:
    location = tmp_path / "tools.json"
    assert wanted(manifest(FILE, qcow2_url=URL), location).source == URL
    assert wanted(manifest("other.qcow2", qcow2_url=URL), location).source is None
    assert wanted(manifest(f"https://example.com/{FILE}", qcow2_url=URL), location).source != URL
    (tmp_path / FILE).write_bytes(IMAGE)
    assert wanted(manifest(FILE, qcow2_url=URL), location).source == (tmp_path / FILE).as_uri()
