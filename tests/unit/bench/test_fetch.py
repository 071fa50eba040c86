from pathlib import Path

from ci.bench.fetch import peak_memory


def test_the_peak_is_the_largest_of_all_processes_that_wrote_the_log(tmp_path: Path) -> None:
    log = tmp_path / "ensure-vm.log"
    log.write_text("12:00 ci peak memory: 35000000 bytes\n12:01 ci peak memory: 41000000 bytes\npeak memory: 9 bytes\n")
    assert peak_memory(log) == 41_000_000
