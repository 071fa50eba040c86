"""A pushed tag with nothing stood in for but other people's actions: the image is built and booted four times.

It is the image that releases carry, upon the base that stands in for Ubuntu's and has everything wrong. There is a
layer with its packages by then: image/test_build.py looks at how they were installed.
"""

import re
from pathlib import Path

import pytest

from ci.host.files import sha256_file
from ci.host.repository import ROOT
from ci.host.workspace import cache_folder
from ci.image.guest_script import PACKAGES
from ci.image.make_image import IDENTITY_PATH
from ci.records.build import BuildRecord
from ci.records.record import read_record
from ci.records.validation import Outcome, ValidationReport
from tests.integration.workflows.conftest import MakeScene, public_releases
from tests.support.building import Built
from tests.support.trees import read_tree
from tests.support.workflows.model import Result, Run
from tests.support.workflows.scene import IMAGE, LIGHT, Edit, Scene

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

TAG = "v2026.05.06"
DEFINITION = f"build/images/{IMAGE}.toml"
PACE = "ci/fetch/retry.py"  # nobody else uses this GitHub, so that it need not be spared


def upon(base: Path) -> Edit:
    """The release image's own definition in the place of the scene's, with another base."""
    text = (ROOT / DEFINITION).read_text(encoding="utf-8")
    for key, value in {"url": base.as_uri(), "sha256": sha256_file(base), "id": "debian", "version_id": "11"}.items():
        text, count = re.subn(f'^{key} = ".*"', f'{key} = "{value}"', text, flags=re.MULTILINE)
        assert count == 1, key
    return lambda _: text


@pytest.fixture(scope="module")
def released(make_scene: MakeScene, built: Built) -> tuple[Scene, Run]:
    made = make_scene(
        edits={DEFINITION: upon(built.base), PACE: LIGHT[PACE]},
        keys=Path(f"{built.identity}.pub").read_text(encoding="utf-8"),
        cache=cache_folder(),
        variables={"TOOLSMITH_ACCELERATOR": "auto"},
    )
    return made, made.run(made.push_tag(TAG))


def kept(released: tuple[Scene, Run], artifact: str, pattern: str) -> Path:
    made, run = released
    (path,) = (made.side.artifacts / str(run.id) / f"{artifact}-{IMAGE}").glob(pattern)
    return path


def test_a_tag_is_built_upon_a_hostile_base_booted_released_and_proposed(released: tuple[Scene, Run]) -> None:
    made, run = released
    assert run.result is Result.SUCCESS, run.summary + run.log[-4000:]
    tested = read_record(kept(released, "reports", "*.validation.json"), ValidationReport)
    assert [check for check in tested.checks if check.outcome is not Outcome.PASSED] == []
    assert [boot.name for boot in tested.boots] == ["full", "clone", "consumer", "seed"]
    assert public_releases(made) == [TAG]
    (release,) = made.server.releases(made.repository)
    image = next(asset for asset in release["assets"] if asset["name"].endswith(".qcow2"))
    assert image["digest"] == f"sha256:{tested.image_sha256}"
    assert {attestation.predicate for attestation in made.side.attestations} == {"provenance", "sbom"}
    of_image = [one for one in made.side.attestations if one.subject == image["name"]]
    assert [f"sha256:{one.sha256}" for one in of_image] == [image["digest"]] * 2
    assert image["size"] > 100 << 20
    assert len(made.server.pulls(made.repository)) == 1
    assert "Validation of `fountainkit-toolsmith-ubuntu-2204" in run.summary
    assert "passed" in run.summary


def test_every_file_is_the_same_as_in_the_image_that_was_built_anew(
    released: tuple[Scene, Run], built: Built, tmp_path: Path
) -> None:
    """Content, mode and owner, but for what tells its name and time. What else may differ: docs/definitions.md."""
    record = read_record(kept(released, "reports", "*.build.json"), BuildRecord)
    installing = [any(step.title == PACKAGES.title for step in one.steps) for one in (built.record, record)]
    assert installing == [True, False]  # the other stands upon its layer
    images = {"anew": built.image, "upon_layer": kept(released, "image", "*.qcow2")}
    anew, from_layer = (read_tree(image, tmp_path / name) for name, image in images.items())
    differing = {path for path in from_layer.keys() | anew.keys() if from_layer.get(path) != anew.get(path)}
    assert differing == {f"/{IDENTITY_PATH}"}
    assert len(anew) > 10_000
