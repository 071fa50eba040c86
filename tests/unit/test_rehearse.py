from pathlib import Path

import pytest

from ci import rehearse
from ci.host.errors import InputError, RefusedError
from ci.host.repository import ROOT
from ci.records.version import Version
from tests.support.quiet import quiet_reporter


def test_the_flags_ask_for_what_is_in_dist_unless_told_otherwise() -> None:
    parse = rehearse.arguments().parse_args
    assert rehearse.request(parse([])) == rehearse.RehearseRequest(dist=ROOT / "dist", tag=None, image="jammy")
    asked = rehearse.request(parse(["--dist", "/elsewhere", "--tag", "v2026.11.23", "--image", "bookworm"]))
    tag = Version.parse("v2026.11.23")
    assert rehearse.request(parse(["--keep", "/texts"])).keep == Path("/texts")
    assert asked == rehearse.RehearseRequest(dist=Path("/elsewhere"), tag=tag, image="bookworm")


def test_a_tag_that_is_no_version_is_refused() -> None:
    with pytest.raises(InputError, match="2026"):
        rehearse.request(rehearse.arguments().parse_args(["--tag", "2026"]))


@pytest.mark.parametrize("there", ["a file", "a folder with a file", "a link"])
def test_texts_are_only_left_in_a_new_or_an_empty_folder(there: str, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    if there == "a file":
        folder.write_text("mine")
    elif there == "a link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        (folder / "notes.md").write_text("mine")
    wanted = rehearse.RehearseRequest(dist=tmp_path / "nothing", tag=None, image="jammy", keep=folder)
    with pytest.raises(RefusedError, match="is not an empty folder"):
        rehearse.rehearse(wanted, quiet_reporter())


def test_a_file_that_came_meanwhile_stays_as_it_is(tmp_path: Path) -> None:
    rehearse.require_empty(tmp_path / "texts")
    rehearse.keep(tmp_path / "texts", {"notes.md": "crlf\r\n"})
    assert (tmp_path / "texts" / "notes.md").read_bytes() == b"crlf\r\n"
    with pytest.raises(RefusedError, match="came meanwhile"):
        rehearse.keep(tmp_path / "texts", {"notes.md": "other"})
    assert (tmp_path / "texts" / "notes.md").read_bytes() == b"crlf\r\n"
