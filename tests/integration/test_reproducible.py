"""The same inputs give the same image: one upon the cached layer and one without it, compared file by file."""

import pytest

from tests.integration.building import Built, build
from tests.integration.trees import Entry, read_tree

pytestmark = pytest.mark.integration

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


@pytest.fixture(scope="module")
def trees(built: Built, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Entry], dict[str, Entry]]:
    """What is in an image on the layer that `built` left, and in one that is built anew."""
    found = []
    for name, flags in (("layer", ()), ("anew", ("--no-cache",))):
        folder = tmp_path_factory.mktemp(name)
        image = build(folder / "dist", built.identity, *flags, environment=EPOCH).image
        found.append(read_tree(image, folder / "tree"))
    return found[0], found[1]


def test_every_file_is_the_same(trees: tuple[dict[str, Entry], dict[str, Entry]]) -> None:
    """Content, mode and owner. What else may differ, and why, is in docs/definitions.md."""
    from_layer, anew = trees
    assert {path for path in from_layer.keys() | anew.keys() if from_layer.get(path) != anew.get(path)} == set()
    assert len(anew) > 10_000
