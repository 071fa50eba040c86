import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import regress
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.records import manifest_rules as rules

URL = "https://github.com/fountain/image/releases/download/v2026.11.23/fountainkit-toolsmith-ubuntu-2204.qcow2"
PUBLISHED: dict[str, Any] = {
    "image": {
        "name": "fountainkit-toolsmith-ubuntu-2204-v2026.11.23",
        "tarball": "",
        "sha256": "",
        "qcow2": URL,
        "qcow2_sha256": "a" * 64,
        "version": "v2026.11.23",
        "size": 658_000_000,
    },
    "tools": {"swift": "5.10"},
    "operations": ["build"],
}
UNPUBLISHED: dict[str, Any] = {"image": rules.NO_IMAGE, "tools": {}, "operations": []}
FORMERLY_UNPUBLISHED: dict[str, Any] = {
    "image": {
        "name": "",
        "tarball": "",
        "sha256": "",
        "qcow2": "",
        "qcow2_sha256": "",
        "version": "unpublished",
        "size": 0,
    },
    "tools": {},
    "operations": [],
}


def _pattern(
    _validator: Draft202012Validator, pattern: str, instance: object, _schema: object
) -> Iterator[ValidationError]:
    # A schema's patterns are those of ECMAScript; Python's `$` would match before a last newline too.
    if isinstance(instance, str) and not regress.Regex(pattern, flags="u").find(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


VALIDATOR = extend(Draft202012Validator, {"pattern": _pattern})  # type: ignore[no-untyped-call]  # its stubs lack it
DOCUMENT = json.loads((ROOT / "manifests" / "tools.schema.json").read_text(encoding="utf-8"))
SCHEMA = VALIDATOR(DOCUMENT)


def changed(document: dict[str, Any], /, **image: object) -> dict[str, Any]:
    result = copy.deepcopy(document)
    result["image"] |= image
    return result


def without(document: dict[str, Any], *path: str) -> dict[str, Any]:
    result = copy.deepcopy(document)
    holder = result
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return result


def parse(document: object) -> rules.Document:
    return rules.read_manifest(json.dumps(document).encode(), "tools.json")


GOOD: list[dict[str, Any]] = [
    PUBLISHED,
    UNPUBLISHED,
    changed(PUBLISHED, qcow2="image.qcow2"),
    changed(PUBLISHED, qcow2="images/image 1.qcow2"),
    changed(PUBLISHED, qcow2="/var/lib/images/image.qcow2"),
    changed(PUBLISHED, qcow2="oci://ghcr.io/fountain/image:v2026.11.23"),
    changed(PUBLISHED, qcow2="http://localhost:4010/image.qcow2?token=1"),
    changed(PUBLISHED, qcow2="https://example.org/a..b/.hidden/größe.qcow2"),
    changed(PUBLISHED, version="v2026.11.23.2"),
    changed(PUBLISHED, tarball="https://example.org/image.tar.gz", sha256="0" * 64),
    FORMERLY_UNPUBLISHED,
    *(
        changed(unpublished, tarball="image.tar.gz", sha256="0" * 64, name="toolsmith")
        for unpublished in (UNPUBLISHED, FORMERLY_UNPUBLISHED)
    ),
    changed(PUBLISHED, name="toolsmith v1"),
    without(without(PUBLISHED, "image", "version"), "image", "size"),
    without(without(UNPUBLISHED, "image", "version"), "image", "size"),
    without(without(FORMERLY_UNPUBLISHED, "image", "version"), "image", "size"),
    changed(PUBLISHED, mirror=["https://example.org/"], note=None),
    {**PUBLISHED, "comment": {"any": [1, 2.5, "thing"]}, "$schema": "tools.schema.json"},
]

BAD: list[dict[str, Any]] = [
    {},
    without(PUBLISHED, "image"),
    without(PUBLISHED, "tools"),
    without(PUBLISHED, "operations"),
    *(without(PUBLISHED, "image", key) for key in ("name", "tarball", "sha256", "qcow2", "qcow2_sha256")),
    {**PUBLISHED, "image": None},
    {**PUBLISHED, "image": [PUBLISHED["image"]]},
    {**PUBLISHED, "tools": {"swift": 5}},
    {**PUBLISHED, "tools": ["swift"]},
    {**PUBLISHED, "tools": None},
    {**PUBLISHED, "operations": "build"},
    {**PUBLISHED, "operations": [1]},
    {**PUBLISHED, "operations": {}},
    *(changed(PUBLISHED, **{key: None}) for key in PUBLISHED["image"]),
    *(changed(PUBLISHED, **{key: 1}) for key in PUBLISHED["image"] if key != "size"),
    *(changed(PUBLISHED, qcow2_sha256=digest) for digest in ("A" * 64, "a" * 63, "a" * 65, "g" * 64, f"{'a' * 64}\n")),
    changed(PUBLISHED, qcow2_sha256=""),
    changed(PUBLISHED, qcow2_sha256=f"sha256:{'a' * 64}"),
    changed(PUBLISHED, sha256="A" * 64),
    *(
        changed(PUBLISHED, name=name)
        for name in ("", ".", "..", "../x", "a/b", "a\\b", "a\nb", "a\n", "a\x00", "\u202egnp", ".hidden", "x" * 201)
    ),
    *(
        changed(PUBLISHED, qcow2=reference)
        for reference in (
            "ftp://example.org/image.qcow2",
            "file:///image.qcow2",
            "HTTPS://example.org/image.qcow2",
            "javascript:alert(1)",
            "data:,x",
            "C:\\image.qcow2",
            "https:image.qcow2",
            "https:///image.qcow2",
            "https://example.org",
            "https://example.org/",
            "https://example.org/images/",
            "https://example.org/a b.qcow2",
            "https://example.org/../image.qcow2",
            "https://example.org/images/..",
            "../image.qcow2",
            "/images/../image.qcow2",
            "..",
            ".",
            "/",
            "images/",
            "images\\image.qcow2",
            "image.qcow2\n",
            "image\x00.qcow2",
            "image\u2028.qcow2",
            "\u202eimage.qcow2",
            "x" * 2001,
        )
    ),
    changed(PUBLISHED, tarball="ftp://example.org/image.tar"),
    *(changed(PUBLISHED, version=version) for version in ("v2026.11", "2026.11.23", "v2026.11.23.0", "latest")),
    *(changed(PUBLISHED, size=size) for size in (0, -1, 1 << 41, 1.5, "658000000", True)),
    changed(PUBLISHED, version="unpublished"),
    changed(UNPUBLISHED, name=""),
    changed(UNPUBLISHED, qcow2_sha256=""),
    *(
        changed(unpublished, **fields)
        for unpublished in (UNPUBLISHED, FORMERLY_UNPUBLISHED)
        for fields in ({"qcow2_sha256": "a" * 64}, {"version": "v2026.11.23"}, {"size": 1})
    ),
]

# What a schema cannot say: there, 1.0 is an integer, and a pattern decodes nothing.
ONLY_THE_RULES = [
    changed(PUBLISHED, size=658_000_000.0),
    changed(PUBLISHED, qcow2="https://example.org/%2e%2e/image.qcow2"),
    changed(PUBLISHED, qcow2="https://example.org/image%00.qcow2"),
    changed(PUBLISHED, qcow2="https://[::1/image.qcow2"),
    changed(PUBLISHED, qcow2="https://example.org:99999/image.qcow2"),
]


def refused(document: dict[str, Any]) -> bool:
    try:
        parse(document)
    except InputError as error:
        return error.message.startswith("tools.json is not a manifest: ")
    return False


def test_a_good_manifest_is_read_and_valid_by_the_schema() -> None:
    for document in GOOD:
        assert parse(document) == document
        assert list(SCHEMA.iter_errors(document)) == []


def test_a_bad_manifest_is_refused_by_the_rules_and_the_schema() -> None:
    assert [document for document in BAD if not refused(document)] == []
    assert [document for document in BAD if not list(SCHEMA.iter_errors(document))] == []


def test_what_a_schema_cannot_say_the_rules_do() -> None:
    assert [document for document in ONLY_THE_RULES if not refused(document)] == []


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"image": {}, "image": {}}', "the key image comes twice"),
        (b" " * rules.MAX_BYTES + b"{}", "more than 1048576"),
        (b"[]", "not an object"),
    ],
    ids=["strict", "long", "array"],
)
def test_what_is_no_document_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        rules.read_manifest(data, "tools.json")


def test_the_error_names_the_key_and_every_finding() -> None:
    with pytest.raises(InputError) as caught:
        parse(changed(without(PUBLISHED, "tools"), qcow2_sha256="A" * 64, size="1"))
    assert "image.qcow2_sha256: " in caught.value.message
    assert [line.split(":")[0] for line in caught.value.details.splitlines()] == [
        "image.qcow2_sha256",
        "image.size",
        "tools",
    ]


def test_a_hostile_key_is_shown_in_ascii() -> None:
    with pytest.raises(InputError) as caught:
        parse({**PUBLISHED, "tools": {"\x1b[31m\u202e": 1}})
    assert caught.value.message.isprintable()
    assert "\u202e" not in caught.value.message


@given(
    st.dictionaries(
        st.text().filter(lambda key: key not in {*rules.SHAPES, *rules.IMAGE_CHECKS}),
        st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5),
    )
)
def test_the_keys_of_others_are_kept(extra: dict[str, Any]) -> None:
    document = {**extra, **changed(PUBLISHED, **{**extra, **PUBLISHED["image"]})}
    assert parse(document) == document


def test_the_schema_has_the_patterns_and_limits_of_the_rules() -> None:
    Draft202012Validator.check_schema(DOCUMENT)
    parts = DOCUMENT["$defs"]
    keys = parts["image"]["properties"]
    assert parts["digest"]["pattern"] == rules.DIGEST
    assert (keys["name"]["pattern"], keys["name"]["maxLength"]) == (rules.FOLDER, rules.MAX_NAME)
    assert keys["version"]["pattern"] == rules.VERSION
    assert keys["size"]["maximum"] == rules.MAX_SIZE
    assert set(keys) == set(rules.IMAGE_CHECKS)
    assert set(keys) - set(parts["image"]["required"]) == set(rules.OPTIONAL)
    for reference in (parts["reference"], parts["origin"]):
        assert reference["maxLength"] == rules.MAX_REFERENCE
        assert rules.UNSEEN in reference["not"]["pattern"]


def test_the_committed_manifest_is_one() -> None:
    path = ROOT / "manifests" / "tools.json"
    image = rules.read_manifest(path.read_bytes(), str(path))["image"]
    assert rules.is_published(image) or image == rules.NO_IMAGE


@pytest.mark.parametrize(
    ("image", "obstacle"),
    [
        (changed(PUBLISHED, qcow2="image.qcow2"), ""),
        (changed(PUBLISHED, qcow2="image 1%20.qcow2", qcow2_url=URL, tarball="image.qcow2"), ""),
        (PUBLISHED, "more than a file's name"),
        (changed(PUBLISHED, qcow2="images/image.qcow2"), "more than a file's name"),
        (changed(PUBLISHED, qcow2="/images/image.qcow2"), "more than a file's name"),
        (changed(PUBLISHED, qcow2="oci://ghcr.io/fountain/image:v2026.11.23"), "more than a file's name"),
        (UNPUBLISHED, "nothing is released"),
        (FORMERLY_UNPUBLISHED, "deletes its cache"),
    ],
)
def test_what_keeps_toolsmith_from_the_image_in_its_cache_is_told(image: dict[str, Any], obstacle: str) -> None:
    found = rules.toolsmith_obstacle(parse(image))
    assert bool(found) == bool(obstacle)
    assert obstacle in (found or "")
