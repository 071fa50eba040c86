from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from ci.bench import fetch
from ci.bench.fetch import measure_tool, peak_memory
from ci.host.process import Argument
from tests.support.quiet import quiet_reporter


def test_the_peak_is_the_largest_of_all_processes_that_wrote_the_log(tmp_path: Path) -> None:
    log = tmp_path / "ensure-vm.log"
    log.write_text("12:00 ci peak memory: 35000000 bytes\n12:01 ci peak memory: 41000000 bytes\npeak memory: 9 bytes\n")
    assert peak_memory(log) == 41_000_000


def test_the_tool_is_measured_in_bytes_and_beside_python_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def took(argv: Sequence[Argument], **_: object) -> SimpleNamespace:
        return SimpleNamespace(seconds=0.6 if "--help" in argv else 0.02)

    monkeypatch.setattr(fetch, "run", took)
    size, start = (row.cells() for row in measure_tool(tmp_path, 2, quiet_reporter()))
    megabytes = (tmp_path / "ensure-vm.pyz").stat().st_size / 1e6
    assert size[2] == f"{megabytes:.1f} MB"
    assert start[1:] == ("20 ms (20 ms to 20 ms)", "600 ms (600 ms to 600 ms)", "30.00 (30.00 to 30.00)", "≤ 80.00",
                         "reached")  # fmt: skip
