"""The same inputs give the same image: one upon the cached layer and one without it, compared file by file."""

import pytest

from ci.image.guest_script import PACKAGES
from tests.support.building import EPOCH, Built, build
from tests.support.trees import read_tree

pytestmark = pytest.mark.integration


def test_every_file_is_the_same(built: Built, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Content, mode and owner. What else may differ, and why, is in docs/definitions.md."""
    folder = tmp_path_factory.mktemp("again")
    again = build(folder / "dist", built.base, built.identity, environment=EPOCH)
    installing = [any(step.title == PACKAGES.title for step in image.record.steps) for image in (built, again)]
    assert installing == [True, False]
    anew, from_layer = (read_tree(image.image, folder / name) for name, image in (("a", built), ("b", again)))
    assert {path for path in from_layer.keys() | anew.keys() if from_layer.get(path) != anew.get(path)} == set()
    assert len(anew) > 10_000
