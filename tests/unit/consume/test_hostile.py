"""Manifests that mean harm, or were written carelessly: refused, and nothing written."""

import json
from pathlib import Path
from typing import Any

import pytest

from ci.host.errors import InputError, ToolsmithError
from tests.support import consumer_model
from tests.support.consuming import DIGEST, FILE, IMAGE, Consumer, manifest

URL = f"https://example.org/{FILE}"


@pytest.fixture
def consumer(tmp_path: Path) -> Consumer:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (tmp_path / FILE).write_bytes(IMAGE)  # what a way out of the workspace would lead to
    return Consumer(folder)


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    del document["image"][key]
    return document


def twice(document: dict[str, Any], key: str) -> bytes:
    return json.dumps(document).replace(f'"{key}"', f'"{key}": "x", "{key}"', 1).encode()


NAMES = [
    "",
    ".",
    "..",
    "../x",
    "../../../../srv/x",
    "/srv/x",
    "a/b",
    "a\\b",
    "a\x00b",
    "a\nb",
    ".hidden",
    "\u202egnp",
    7,
]
REFERENCES = [
    f"../../{FILE}",
    f"images/../../../{FILE}",
    f"/../{FILE}",
    "..",
    "images/",
    "/",
    f"file:///srv/{FILE}",
    "file:///etc/passwd",
    f"FILE:///srv/{FILE}",
    f"file://elsewhere/{FILE}",
    f"ftp://example.org/{FILE}",
    "javascript:alert(1)",
    f"https:/{FILE}",
    f"https://{FILE}",
    "https://example.org/",
    f"https://example.org/../{FILE}",
    f"https://example.org/%2e%2e/{FILE}",
    "https://example.org/%2e%2e",
    "https://example.org/a%00b",
    "https://example.org/a%5cb",
    f"https://[::1/{FILE}",
    f"https://example.org:99999/{FILE}",
    f"https://example.org/a b/{FILE}",
    "a\x00b",
    "a\nb",
    "x" * 3000,
    None,
    7,
    [FILE],
]
DIGESTS = [
    "",
    "x" * 64,
    "A" * 64,
    DIGEST[:-1],
    f"{DIGEST}0",
    f"{DIGEST}\n",
    f"sha256:{DIGEST}",
    f"../{DIGEST[3:]}",
    None,
    7,
]
SIZES = [-1, 0, 1 << 60, 10**400, 1.5, 1e3, "3000000", True, None]

WRONG: list[object] = [None, 7, "x", [{}], {"x": 1}]

# What Toolsmith reads, and others might read in another way.
AMBIGUOUS = [
    *(twice(manifest(URL), key) for key in ("qcow2", "swift")),
    b"\xef\xbb\xbf" + json.dumps(manifest(URL)).encode(),
    json.dumps(manifest(URL)).encode("utf-16"),
    json.dumps(manifest(URL)).encode().replace(b"]", b",]"),
]
NOISE = [
    *(twice(manifest(URL), key) for key in ("image", "tools")),
    json.dumps(manifest(URL)).encode() + b"\xff",
    json.dumps(manifest(URL)).encode() + b"x",
    b"",
    b"[]",
    b"null",
    b"[" * 500_000,
]

DOCUMENTS: list[object] = [
    *(manifest(URL, name=name) for name in NAMES),
    *(manifest(reference) for reference in REFERENCES),
    *(manifest(URL, qcow2_sha256=digest) for digest in DIGESTS),
    *(manifest(URL, size=size) for size in SIZES),
    *(manifest(URL, qcow2_url=url) for url in ("file:///etc/passwd", "oci://example.org/x", "../x", 7)),
    *(without(manifest(URL), key) for key in ("name", "tarball", "sha256", "qcow2", "qcow2_sha256")),
    *({**manifest(URL), key: wrong} for key in ("image", "tools", "operations") for wrong in WRONG),
    *AMBIGUOUS,
    *NOISE,
    json.dumps({**manifest(URL), "x": "y" * 1_100_000}).encode(),
]


def shown(document: object) -> str:
    return ascii(document)[-90:]


def test_it_is_refused_and_nothing_is_written(consumer: Consumer, subtests: pytest.Subtests) -> None:
    for document in DOCUMENTS:
        with subtests.test(document=document):
            consumer.write(document)
            for flags in ([], ["--localize", "--prune"]):
                with pytest.raises(InputError):
                    consumer.run(*flags)
            assert consumer.files() == {".toolsmith/tools.json"}
            assert not (consumer.workspace / ".toolsmith" / "cache").exists()


def test_a_hundred_megabytes_are_not_even_read(consumer: Consumer) -> None:
    consumer.write(b"{")
    with consumer.manifest.open("r+b") as file:
        file.truncate(100_000_000)
    with pytest.raises(InputError, match="more than 1048576"):
        consumer.run()


def test_names_that_no_file_system_takes_are_refused(consumer: Consumer) -> None:
    for document in (manifest(f"https://example.org/{'ü' * 120}"), manifest(URL, name="ü" * 120)):
        consumer.write(document)
        with pytest.raises(InputError, match="more than 200 bytes"):
            consumer.run()
    assert consumer.files() == {".toolsmith/tools.json"}


def test_a_registry_is_refused_with_advice(consumer: Consumer) -> None:
    consumer.write(manifest("oci://ghcr.io/fountain/image:v2026.11.23"))
    with pytest.raises(InputError, match="registry"):
        consumer.run()


def test_a_device_is_no_image(consumer: Consumer) -> None:
    consumer.write(manifest("/dev/zero"))
    with pytest.raises(ToolsmithError, match="not a file"):
        consumer.run()
    assert consumer.files() == {".toolsmith/tools.json"}


def test_what_the_consumer_itself_cannot_read_is_among_it() -> None:
    for document in AMBIGUOUS:
        consumer_model.decode(document)
    for document in NOISE:
        with pytest.raises(consumer_model.DecodeError):
            consumer_model.decode(document)
