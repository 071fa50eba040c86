"""What an earlier run, another one at the same moment, or somebody else may have left of a download."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ci.fetch.partial_file import PartialFile
from ci.host.open_folder import OpenFolder

URL = "https://example.org/image"


@dataclass
class Runs:
    """Downloads to one folder, each as a run of its own would begin it."""

    folder: OpenFolder
    held: ExitStack

    def new(self) -> PartialFile:
        return self.held.enter_context(PartialFile(self.folder, "image", URL))

    def begun(self) -> PartialFile:
        part = self.new()
        part.begin('"tag"')
        part.append([b"one", b"two"])
        return part

    def loaded(self, limit: int = 1000) -> PartialFile:
        part = self.new()
        part.load(limit)
        return part

    @property
    def image(self) -> bytes:
        return (self.folder.path / "image").read_bytes()

    @property
    def sidecar(self) -> Path:
        return self.folder.path / "image.part.json"


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    with OpenFolder.at(tmp_path) as opened, ExitStack() as held:
        yield Runs(opened, held)


def test_what_an_earlier_run_left_is_continued(runs: Runs) -> None:
    runs.begun()
    part = runs.loaded()
    assert (part.size, part.validator) == (6, '"tag"')
    part.append([b"three"])
    part.finish()
    assert runs.image == b"onetwothree"
    assert runs.folder.names() == ["image"]


@pytest.mark.parametrize(
    "change",
    [
        {"validator": "x\r\nEvil: 1"},
        {"validator": "ü"},
        {"validator": " "},
        {"validator": 7},
        {"validator": None},
        {"url": "another"},
        {"more": "x" * 20_000},
    ],
    ids=str,
)
def test_a_sidecar_that_could_not_be_ours_is_none(runs: Runs, change: dict[str, Any]) -> None:
    runs.begun()
    runs.sidecar.write_text(json.dumps({**json.loads(runs.sidecar.read_text()), **change}))
    part = runs.loaded()
    assert (part.size, part.validator) == (0, None)


@pytest.mark.parametrize("text", ["[" * 9000, "", "[]", '"x"', "\xff"])
def test_a_sidecar_that_is_no_json_object_is_none(runs: Runs, text: str) -> None:
    runs.begun()
    runs.sidecar.write_bytes(text.encode("latin-1"))
    assert runs.loaded().validator is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_others_could_still_change_is_not_continued(runs: Runs) -> None:
    runs.begun()
    os.chown(runs.folder.path / "image.part", 12345, 12345)
    assert runs.loaded().size == 0


def test_what_is_refused_while_it_comes_may_be_discarded_at_once(runs: Runs) -> None:
    part = runs.begun()

    def chunks() -> Iterator[bytes]:
        part.discard()
        raise KeyError
        yield b""

    with pytest.raises(KeyError):
        part.append(chunks())
    assert runs.folder.names() == []


def test_more_than_the_whole_is_not_even_read(runs: Runs) -> None:
    runs.begun()
    assert runs.loaded(limit=5).size == 0


def test_of_two_runs_without_locks_the_first_notices_that_its_part_was_replaced(runs: Runs) -> None:
    first = runs.begun()
    second = runs.begun()
    for use in (first.finish, lambda: first.append([b"x"])):
        with pytest.raises(OSError, match=r"somebody else replaced or changed it .*image\.part"):
            use()
    second.finish()
    assert runs.image == b"onetwo"


def test_two_that_continue_the_same_part_do_not_mix_it(runs: Runs) -> None:
    runs.begun()
    first, second = runs.loaded(), runs.loaded()
    first.append([b"x"])
    with pytest.raises(OSError, match="somebody else"):
        second.append([b"y"])
    first.finish()
    assert runs.image == b"onetwox"
