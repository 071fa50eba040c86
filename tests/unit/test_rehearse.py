from pathlib import Path

import pytest

from ci import rehearse
from ci.host.errors import InputError
from ci.host.repository import ROOT
from ci.records.version import Version


def test_the_flags_ask_for_what_is_in_dist_unless_told_otherwise() -> None:
    parse = rehearse.arguments().parse_args
    assert rehearse.request(parse([])) == rehearse.RehearseRequest(dist=ROOT / "dist", tag=None, image="jammy")
    asked = rehearse.request(parse(["--dist", "/elsewhere", "--tag", "v2026.11.23", "--image", "bookworm"]))
    tag = Version.parse("v2026.11.23")
    assert asked == rehearse.RehearseRequest(dist=Path("/elsewhere"), tag=tag, image="bookworm")


def test_a_tag_that_is_no_version_is_refused() -> None:
    with pytest.raises(InputError, match="2026"):
        rehearse.request(rehearse.arguments().parse_args(["--tag", "2026"]))
