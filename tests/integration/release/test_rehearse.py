"""A rehearsal leaves the texts that people and programs would read, and nothing else."""

import json
import os
from pathlib import Path

import pytest

from ci.records.release import ReleaseRecord
from ci.rehearse import RehearseRequest, rehearse
from tests.support.quiet import quiet_reporter
from tests.support.releasing import TAG, make_dist

pytestmark = pytest.mark.integration


def test_the_texts_of_a_rehearsal_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("TOOLSMITH_CACHE", os.fspath(tmp_path / "cache"))
    folder = tmp_path / "texts"
    dist = make_dist(tmp_path / "dist", image=b"QFI\xfb" * (1 << 20))  # its upload must last to be cut off
    wanted = RehearseRequest(dist=dist, tag=None, image="bookworm", keep=folder)
    rehearse(wanted, quiet_reporter())
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert set(texts) == {
        "notes.md", "page.md", "changelog.md", "release.json", "tools.json", "pull-request.md", "consumer-tools.json",
        "consumer-pull-request.md", "comment.md",
    }  # fmt: skip
    record = ReleaseRecord.model_validate_json(texts["release.json"])
    assert record.tag == TAG
    for name in ("tools.json", "consumer-tools.json"):
        assert json.loads(texts[name])["image"]["qcow2_sha256"] == record.image.qcow2.sha256
    assert record.image.qcow2.sha256 in texts["notes.md"]
    assert texts["pull-request.md"].startswith(f"Roll out {TAG}\n\n")
    assert texts["consumer-pull-request.md"].startswith(f"Use Toolsmith image {TAG}\n\n")
    assert TAG in texts["changelog.md"]
    assert TAG in texts["page.md"]
    assert "bookworm" in texts["comment.md"]
