from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from ci.bench.record import (
    BootComparison,
    BuildComparison,
    BuildMeasurement,
    FetchComparison,
    MachineRecord,
    MemoryMeasurement,
    MemoryTrial,
    PerformanceRecord,
    Spread,
    Stages,
    ValidationComparison,
    markdown,
    ratio,
    spread,
    table,
)
from ci.records.build import StepRecord
from ci.records.record import read_record

MACHINE = MachineRecord(
    cpu="Some CPU @ 2.00GHz",
    cores=2,
    memory=4 << 30,
    accelerator="tcg",
    accelerator_reason="`ret == n' failed",
    load=0.03,
    tools={"QEMU": "7.2.22", "libguestfs": "1.48.6"},
)
BUILD = BuildComparison(
    classic=BuildMeasurement(
        seconds=400.0,
        artifact=1_744_000_000,
        steps=[
            StepRecord(title="virt-customize", seconds=365.0),
            StepRecord(title="virt-sysprep", seconds=35.0),
        ],
    ),
    ours=BuildMeasurement(
        seconds=140.0,
        artifact=313_000_000,
        steps=[StepRecord(title="Installing packages", seconds=100.0)],
    ),
    again=BuildMeasurement(seconds=49.0, artifact=313_000_000, steps=[StepRecord(title="Sealing", seconds=1.0)]),
    peak_memory=60_400_000,
)
FETCH = FetchComparison(
    file_bytes=1 << 30,
    pipeline=[9.0, 8.0],
    ours=[10.0, 7.0],
    sha256sum=[4.0, 6.0],
    cached=[5.0, 5.0],
    peak_memory=99_999_999,
)
BOOT = BootComparison(
    base=[70.0, 64.0, 80.0],
    ours=[21.0, 16.0, 24.0],
    floor=[10.5, 10.0, 12.0],
    little=[40.0, 39.0, 41.0],
    much=[20.0, 20.0, 20.0],
    memory_mib=2048,
    cpus=2,
)

GOLDEN = """\
| what | usual way | ours | ratio | target |  |
| --- | --- | --- | --- | --- | --- |
| build | 400.0 s | 140.0 s | 0.35 | ≤ 0.35 | reached |
| build after a change of guest files (usual way: our whole build) | 140.0 s | 49.0 s | 0.35 | ≤ 0.35 | reached |
| image file | 1744 MB | 313 MB | 0.18 | ≤ 0.18 | reached |
| peak memory of our build's process |  | 60 MB |  | < 200 MB | reached |
| start to SSH | 70.0 s (64.0 s to 80.0 s) | 21.0 s (16.0 s to 24.0 s) | 0.30 (0.25 to 0.30) | ≤ 0.30 | reached |
| start to SSH (usual way: an init that only reports) | 10.5 s (10.0 s to 12.0 s) | 21.0 s (16.0 s to 24.0 s) | \
2.00 (1.60 to 2.00) | ≤ 2.00 | reached |
| start to the first command on 3023, 128 MiB (usual way: 2 GiB) | 20.0 s (20.0 s to 20.0 s) | \
40.0 s (39.0 s to 41.0 s) | 2.00 (1.95 to 2.05) | ≤ 2.00 | reached |

Where the time went. The classic recipe: virt-customize 365.0 s, virt-sysprep 35.0 s.

Our build: Installing packages 100.0 s.

Our build after a change of guest files: Sealing 1.0 s.

Starts: 3 of each, with 2 CPUs and 2048 MiB. The base with its seed: 70.0 s, 64.0 s, 80.0 s. \
Our image: 21.0 s, 16.0 s, 24.0 s.

Measured 2026-11-23 09:00 UTC at commit 0123456789ab, with changes; image `bookworm`, base `bootstrap:bookworm` \
(aaaaaaaaaaaa).

Machine: Some CPU @ 2.00GHz, 2 cores, 4.0 GiB; guests run with tcg ('ret == n' failed); \
load before the run 0.03; QEMU 7.2.22, libguestfs 1.48.6.

Method: """


def measured(build: BuildComparison | None = BUILD, boot: BootComparison | None = BOOT) -> PerformanceRecord:
    return PerformanceRecord(
        measured_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
        definition="bookworm",
        base="bootstrap:bookworm",
        base_sha256="a" * 64,
        commit="0123456789abcdef",
        dirty=True,
        machine=MACHINE,
        build=build,
        boot=boot,
    )


def verdicts(record: PerformanceRecord) -> list[str]:
    _, rows = table(record)
    return [row[-1] for row in rows]


def test_the_middle_of_an_even_number_of_values_is_between_the_two_in_the_middle() -> None:
    assert spread([4.0, 1.0, 3.0, 10.0]) == Spread(minimum=1.0, median=3.5, maximum=10.0, count=4)


def test_a_ratio_is_of_the_medians_and_its_extremes_are_of_the_pairs() -> None:
    assert ratio([10.0, 30.0, 20.0], [20.0, 40.0, 100.0]) == Spread(minimum=0.2, median=0.5, maximum=0.75, count=3)


def test_a_ratio_needs_a_partner_for_each_value() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0, 2.0], [1.0])


def test_the_document_has_the_figures_and_all_they_depend_on() -> None:
    assert markdown(measured()).startswith(GOLDEN)


def test_a_part_that_was_not_measured_is_not_in_the_table() -> None:
    _, rows = table(measured(build=None))
    assert len(rows) == 3
    assert all(row[0].startswith("start to ") for row in rows)
    assert "Where the time went" not in markdown(measured(build=None))
    _, rows = table(measured(boot=None))
    assert [row[0].partition(" (")[0] for row in rows] == [
        "build", "build after a change of guest files", "image file", "peak memory of our build's process",
    ]  # fmt: skip
    assert "Starts:" not in markdown(measured(boot=None))


def test_each_target_is_missed_by_the_next_larger_figure() -> None:
    assert verdicts(measured()) == ["reached"] * 7
    ours = BUILD.ours.model_copy(update={"seconds": 140.1, "artifact": 314_000_000})
    again = BUILD.ours.model_copy(update={"seconds": 49.1})
    build = BUILD.model_copy(update={"ours": ours, "again": again, "peak_memory": 200_000_000})
    boot = BOOT.model_copy(update={"base": [100.0], "ours": [30.1], "floor": [15.0], "little": [40.1], "much": [20.0]})
    assert verdicts(measured(build, boot)) == ["missed"] * 7


def test_a_download_is_held_to_nine_tenths_of_the_usual_rate() -> None:
    record = measured(None, None).model_copy(update={"fetch": FETCH})
    assert [row[3:] for row in table(record)[1]] == [
        ("1.00 (0.88 to 1.11)", "≤ 1.11", "reached"),
        ("", "< 100 MB", "reached"),
        ("1.00 (0.83 to 1.25)", "≤ 1.00", "reached"),
    ]
    slower = {"ours": [9.5, 9.5], "cached": [5.1, 5.1], "peak_memory": 100_000_000}
    record = measured(None, None).model_copy(update={"fetch": FETCH.model_copy(update=slower)})
    assert verdicts(record) == ["missed"] * 3


def test_a_measurement_without_a_second_build_shows_none() -> None:
    _, rows = table(measured(BUILD.model_copy(update={"again": None}), None))
    assert [row[0] for row in rows] == ["build", "image file", "peak memory of our build's process"]


def test_a_single_start_shows_no_spread() -> None:
    boot = BootComparison(base=[70.0], ours=[14.0], memory_mib=2048, cpus=2)
    _, rows = table(measured(build=None, boot=boot))
    assert rows == [("start to SSH", "70.0 s", "14.0 s", "0.20", "≤ 0.30", "reached")]


def test_the_first_command_is_beside_the_bases_without_a_target() -> None:
    boot = BOOT.model_copy(update={"base_command": [80.0, 80.0, 80.0], "base_little": "the kernel panicked"})
    document = markdown(measured(build=None, boot=boot))
    rows = table(measured(build=None, boot=boot))[1][-2:]
    assert [(row[0].partition(", ")[2][:7], row[3], *row[4:]) for row in rows] == [
        ("128 MiB", "0.50 (0.49 to 0.51)", "", ""),
        ("2 GiB (", "0.25 (0.25 to 0.25)", "", ""),
    ]
    assert "in QEMU's default memory: the kernel panicked." in document


def test_what_a_start_is_made_of_is_beside_the_bases() -> None:
    base = [Stages(loader=10.0, kernel=20.0, services=40.0), Stages(loader=12.0, kernel=20.0, services=30.0)]
    ours = [Stages(loader=5.0, kernel=4.0, services=4.0), Stages(loader=6.0, kernel=5.0, services=3.0)]
    boot = BootComparison(base=[70, 62], ours=[13, 14], base_stages=base, stages=ours, memory_mib=2048, cpus=2)
    assert [row[:4] for row in table(measured(None, boot))[1][1:]] == [
        (
            "of it firmware and boot loader",
            "11.0 s (10.0 s to 12.0 s)",
            "5.5 s (5.0 s to 6.0 s)",
            "0.50 (0.50 to 0.50)",
        ),
        ("of it kernel and initramfs", "20.0 s (20.0 s to 20.0 s)", "4.5 s (4.0 s to 5.0 s)", "0.23 (0.20 to 0.25)"),
        ("of it services up to SSH", "35.0 s (30.0 s to 40.0 s)", "3.5 s (3.0 s to 4.0 s)", "0.10 (0.10 to 0.10)"),
    ]


def test_the_whole_boot_test_is_compared_without_a_target() -> None:
    validation = ValidationComparison(one_by_one=200.0, side_by_side=150.0, at_a_time=2)
    record = measured(None, None).model_copy(update={"validation": validation})
    what = "the whole boot test, 2 boots at a time (usual way: one after another)"
    assert table(record)[1] == [(what, "200.0 s", "150.0 s", "0.75", "", "")]


def test_the_least_memory_is_shown_with_every_start_that_found_it() -> None:
    trials = [MemoryTrial(mib=128, seconds=40.0), MemoryTrial(mib=96, seconds=None, failure="the kernel panicked")]
    for floor, expected in ((128, "reached"), (136, "missed"), (None, "missed")):
        memory = MemoryMeasurement(floor_mib=floor, trials=trials)
        record = measured(None, None).model_copy(update={"memory": memory})
        assert verdicts(record) == [expected]
        assert "128 MiB: 40.0 s; 96 MiB: the kernel panicked." in markdown(record)


def test_no_starts_are_no_comparison() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        BootComparison(base=[], ours=[], memory_mib=2048, cpus=2)


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    measured().write(tmp_path / "bench.json")
    assert read_record(tmp_path / "bench.json", PerformanceRecord) == measured()
