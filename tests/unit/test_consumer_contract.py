"""What our rules let pass, the consumer reads; the model of the consumer knows nothing of our code."""

import copy
import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.records.manifest_edit import Fields, replace_image
from ci.records.manifest_rules import read_manifest
from ci.rehearse import CONSUMER_EXAMPLE, FIRST_MANIFEST
from tests.support import consumer_model
from tests.support.consuming import DIGEST, FILE, IMAGE, NAME, manifest

URL = f"https://example.org/releases/download/v2026.11.23/{FILE}"
RELEASED: Fields = {"name": NAME, "qcow2": URL, "qcow2_sha256": DIGEST, "version": "v2026.11.23", "size": len(IMAGE)}
OURS = [(ROOT / "manifests" / "tools.json").read_text(encoding="utf-8"), FIRST_MANIFEST]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["", DIGEST, URL, FILE])
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=6
)


@pytest.mark.parametrize("text", OURS)
def test_our_own_manifest_is_read_before_the_first_release_and_after(text: str) -> None:
    consumer_model.decode(text.encode())
    released = consumer_model.decode(replace_image(text, RELEASED, "tools.json", add=True).encode())
    assert (released.image.qcow2, released.image.qcow2_sha256, released.image.name) == (URL, DIGEST, NAME)


def test_a_consumers_manifest_is_read_after_a_roll_out_and_keeps_its_own() -> None:
    before = consumer_model.decode(CONSUMER_EXAMPLE.encode())
    after = consumer_model.decode(replace_image(CONSUMER_EXAMPLE, RELEASED, "tools.json").encode())
    assert (after.tools, after.operations) == (before.tools, before.operations)
    assert after.image.qcow2 == URL


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A manifest with something in it replaced, removed or added."""
    document: dict[str, Any] = copy.deepcopy(manifest(draw(st.sampled_from([URL, FILE, ""]))))
    holder = draw(st.sampled_from([document, document["image"], document["tools"]]))
    for _ in range(draw(st.integers(min_value=0, max_value=3))):
        key = draw(st.sampled_from([*holder, "other"]) | st.text())
        if draw(st.booleans()):
            holder[key] = draw(values)
        else:
            holder.pop(key, None)
    return json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


@given(mutated())
def test_what_our_rules_let_pass_the_consumer_reads(data: bytes) -> None:
    try:
        document = read_manifest(data, "tools.json")
    except InputError:
        return
    decoded = consumer_model.decode(data)
    assert (decoded.tools, decoded.operations) == (document["tools"], document["operations"])
    assert asdict(decoded.image).items() <= document["image"].items()


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_noise_is_refused_in_good_order(data: bytes) -> None:
    with pytest.raises(InputError):
        read_manifest(data, "tools.json")
