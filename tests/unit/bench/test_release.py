from pathlib import Path

import pytest

from ci.bench import release as bench_release
from ci.bench.release import BLOCK, make_dist
from ci.release.dist import read_dist

COMMIT = "c" * 40


def test_what_is_published_for_the_bench_is_what_a_release_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_release, "ASSET_BYTES", 2 * BLOCK)
    (image,) = read_dist(make_dist(tmp_path / "dist", "v2026.01.01", COMMIT), version=None)
    assert image.build.commit == COMMIT
    assert image.qcow2.size == 2 * BLOCK
