import argparse
from pathlib import Path

import pytest

from ci import publish_release
from ci.host.errors import AccessError, InputError, RefusedError, ToolsmithError
from ci.host.repository import ROOT
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG, make_dist

ENVIRON = {"GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t" * 40}


def options(*argv: str) -> argparse.Namespace:
    return publish_release.arguments().parse_args(argv)


def test_without_flags_it_publishes_what_the_build_left() -> None:
    plain = options()
    assert (plain.dist, plain.tag, plain.image, plain.repository) == (ROOT / "dist", None, "jammy", None)
    assert not plain.dry_run
    assert plain.record_sha256 is None
    assert not plain.allow_dirty


# What can be refused without asking anybody is refused so: this folder's tests have no network.


@pytest.mark.parametrize(
    ("argv", "environ", "error"),
    [
        (["--tag", "v2026.02.30"], {}, InputError),
        ([], {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "nightly"}, InputError),
        (["--tag", "v2026.11.24"], {}, RefusedError),
        ([], {"GITHUB_REPOSITORY": "r"}, InputError),
        (["--repository", "r"], {}, InputError),
        ([], {"GITHUB_SHA": "main"}, InputError),
        ([], {"GITHUB_SHA": "a" * 40}, RefusedError),
        ([], {"GITHUB_TOKEN": " "}, AccessError),
        ([], {"GITHUB_API_URL": "http://api.github.com"}, InputError),
        ([], {"GITHUB_SERVER_URL": "ftp://github.com"}, InputError),
    ],
)
def test_what_nobody_needs_to_be_asked_about(
    argv: list[str], environ: dict[str, str], error: type[ToolsmithError], tmp_path: Path
) -> None:
    dist = make_dist(tmp_path / "dist", tag=TAG)
    before = sorted(dist.iterdir())
    with pytest.raises(error):
        publish_release.main(options("--dist", str(dist), *argv), quiet_reporter(), environ=ENVIRON | environ)
    assert sorted(dist.iterdir()) == before


def test_a_branch_named_like_a_tag_is_no_tag(tmp_path: Path) -> None:
    """Then the version is the build's; that it goes on to look for one shows in what it lacks."""
    environ = ENVIRON | {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "nightly"}
    with pytest.raises(InputError, match="there is no build in"):
        publish_release.main(options("--dist", str(tmp_path)), quiet_reporter(), environ=environ)
