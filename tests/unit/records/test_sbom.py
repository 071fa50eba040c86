import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host.errors import InputError, VerificationError
from ci.records.sbom import MAX_BYTES, MAX_LIST, SbomSummary, parse_sbom, read_sbom

DIGEST = "a" * 64
SERIAL = "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79"
GOOD: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "serialNumber": SERIAL,
    "version": 1,
    "metadata": {
        "component": {"type": "container", "name": "image", "hashes": [{"alg": "SHA-256", "content": DIGEST}]}
    },
    "components": [{"type": "library", "name": "curl", "bom-ref": "curl"}, {"type": "library", "name": "git"}],
}

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> bytes:
    document = copy.deepcopy(GOOD)
    change(document)
    return json.dumps(document).encode()


def read(folder: Path, content: bytes, sha256: str = DIGEST) -> SbomSummary:
    path = folder / "image.cdx.json"
    path.write_bytes(content)
    return read_sbom(path, image_sha256=sha256)


def hashes(*pairs: tuple[str, str]) -> Change:
    return lambda document: document["metadata"]["component"].update(
        hashes=[{"alg": algorithm, "content": content} for algorithm, content in pairs]
    )


def test_a_whole_one_of_this_image_is_accepted(tmp_path: Path) -> None:
    summary = read(tmp_path, json.dumps(GOOD).encode())
    assert summary == SbomSummary(serial_number=SERIAL, components=2)


def test_further_digests_do_not_matter(tmp_path: Path) -> None:
    content = changed(hashes(("SHA-512", "b" * 128), ("SHA-256", DIGEST.upper())))
    assert read(tmp_path, content).components == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (hashes(("SHA-256", "b" * 64)), "b" * 64),
        (hashes(("SHA-1", "a" * 40)), "not given"),
        (hashes(("SHA-256", "b" * 64), ("SHA-256", DIGEST)), f"{'b' * 64} and {DIGEST}"),
        (lambda document: document["metadata"]["component"].pop("hashes"), "not given"),
    ],
)
def test_one_of_another_image_is_refused(tmp_path: Path, change: Change, said: str) -> None:
    with pytest.raises(VerificationError, match=f"describes another image: its SHA-256 is {said}, not {DIGEST}"):
        read(tmp_path, changed(change))


REFUSED: list[tuple[Change, str]] = [
    (lambda document: document.pop("bomFormat"), "it is not CycloneDX"),
    (lambda document: document.update(spdxVersion="SPDX-2.3", bomFormat="SPDX"), "it is not CycloneDX"),
    (lambda document: document.update(specVersion="1.5"), "'1.5', not '1.6'"),
    (lambda document: document.update(specVersion=1.6), "'1.6', not '1.6'"),
    (lambda document: document.pop("specVersion"), "'None', not '1.6'"),
    (lambda document: document.pop("serialNumber"), "it has no serialNumber"),
    (lambda document: document.pop("components"), "it has no components"),
    (lambda document: document.pop("metadata"), "it has no metadata"),
    (lambda document: document["metadata"].pop("component"), "it does not say what it describes"),
    (lambda document: document.update(surprise=1), "not valid by the schema"),
    (lambda document: document.update(serialNumber="7"), "not valid by the schema"),
    (lambda document: document["components"].append({"name": "untyped"}), "not valid by the schema"),
    (lambda document: document["components"].append(document["components"][0]), "not valid by the schema"),
    (hashes(("SHA-256", "a" * 63)), "not valid by the schema"),
    (hashes(("SHA-256", "../../etc")), "not valid by the schema"),
    (lambda document: document.update(components=[{}] * (MAX_LIST + 1)), f"more than {MAX_LIST} items"),
    (lambda document: document.update(annotations=[[[0] * 4000] * 6]), "or all have more than"),
]


def test_what_is_no_sbom_of_an_image_is_refused(tmp_path: Path, subtests: pytest.Subtests) -> None:
    for change, problem in REFUSED:
        with subtests.test(problem=problem):
            with pytest.raises(InputError, match=r"^image\.cdx\.json is not the SBOM of an image: ") as caught:
                read(tmp_path, changed(change))
            assert problem in caught.value.message
            assert caught.value.hint


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (json.dumps(GOOD).encode()[:100], "not JSON, or was cut off"),
        (b'{"bomFormat": "SPDX", "bomFormat": "CycloneDX"}', "the key bomFormat comes twice"),
        (b"[]", "it is not CycloneDX"),
        (b'"CycloneDX"', "it is not CycloneDX"),
        (b" " * (MAX_BYTES + 1), f"more than {MAX_BYTES} bytes"),
    ],
    ids=range(5),
)
def test_what_is_not_whole_or_not_json_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        read(tmp_path, content)


def test_components_within_components_may_not_go_too_deep(tmp_path: Path) -> None:
    nested: dict[str, Any] = {"type": "library", "name": "x"}
    for _ in range(200):
        nested = {"type": "library", "name": "x", "components": [nested]}
    with pytest.raises(InputError, match="nested too deeply"):
        read(tmp_path, changed(lambda document: document.update(components=[nested])))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.cdx\.json cannot be read: No such file"):
        read_sbom(tmp_path / "none.cdx.json", image_sha256=DIGEST)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(GOOD)), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), json_values))
def test_nothing_but_its_own_error_comes_of_any_json(change: dict[str, Any]) -> None:
    try:
        parse_sbom(json.dumps(GOOD | change).encode(), "x")
    except InputError:
        return
