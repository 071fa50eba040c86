import argparse
from pathlib import Path

import pytest

from ci import check_drift
from ci.check_drift import read_built
from ci.host.errors import AccessError, InputError, ToolsmithError
from ci.host.progress import quiet_reporter
from tests.support.releasing import TAG, make_dist

ENVIRON = {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t" * 40}


def options(*argv: str) -> argparse.Namespace:
    return check_drift.arguments().parse_args(argv)


def test_what_was_built_again_is_known_by_its_definition(tmp_path: Path) -> None:
    assert list(read_built(make_dist(tmp_path), TAG)) == ["bookworm"]
    assert read_built(tmp_path / "nothing", TAG) == {}


def test_a_build_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"is {TAG}, to be compared with v2026.11.24") as refusal:
        read_built(make_dist(tmp_path), "v2026.11.24")
    assert "IMAGE_VERSION=v2026.11.24" in refusal.value.hint


@pytest.mark.parametrize(
    ("argv", "environ", "error"),
    [
        ([], {}, InputError),
        (["--tag", "nightly"], {}, InputError),
        (["--tag", TAG, "--expected", "/nowhere"], {}, InputError),
        (["--tag", TAG, "--repository", "r"], {}, InputError),
        (["--tag", TAG], {"GITHUB_TOKEN": ""}, AccessError),
    ],
)
def test_what_nobody_needs_to_be_asked_about(
    tmp_path: Path, argv: list[str], environ: dict[str, str], error: type[ToolsmithError]
) -> None:
    with pytest.raises(error):
        check_drift.main(options("--dist", str(tmp_path), *argv), quiet_reporter(), environ=ENVIRON | environ)
