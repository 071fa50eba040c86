"""A pushed tag with nothing stood in for but other people's actions: the image is built and booted four times."""

from pathlib import Path

import pytest

from ci.host.workspace import cache_folder
from tests.integration.workflows.conftest import MakeScene, public_releases
from tests.support.workflows.model import Result
from tests.support.workflows.scene import LIGHT

pytestmark = pytest.mark.integration

TAG = "v2026.05.06"
PACE = "ci/fetch/retry.py"  # all that is changed: nobody else uses this GitHub, so that it need not be spared


def test_a_tag_is_built_booted_released_and_proposed(
    make_scene: MakeScene, bookworm_base: Path, identity: Path
) -> None:
    assert bookworm_base.is_relative_to(cache_folder())
    key = Path(f"{identity}.pub").read_text()
    made = make_scene(
        edits={PACE: LIGHT[PACE]}, keys=key, cache=cache_folder(), variables={"TOOLSMITH_ACCELERATOR": "auto"}
    )
    run = made.run(made.push_tag(TAG))
    assert run.result is Result.SUCCESS, run.summary + run.log[-4000:]
    assert public_releases(made) == [TAG]
    (release,) = made.server.releases(made.repository)
    image = next(asset for asset in release["assets"] if asset["name"].endswith(".qcow2"))
    assert {attestation.predicate for attestation in made.side.attestations} == {"provenance", "sbom"}
    of_image = [one for one in made.side.attestations if one.subject == image["name"]]
    assert [f"sha256:{one.sha256}" for one in of_image] == [image["digest"]] * 2
    assert image["size"] > 100 << 20
    assert len(made.server.pulls(made.repository)) == 1
    assert "Validation of `fountainkit-toolsmith-debian-12" in run.summary
    assert "passed" in run.summary
