from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from ci.bench.record import Bounded, Compared, MeasuredPart, PerformanceRecord, in_turns
from ci.records.record import read_record
from tests.support.quiet import quiet_reporter

BUILD = MeasuredPart(
    rows=[
        Compared(what="build", usual=[400.0], ours=[140.0], target=0.35),
        Compared(what="image file", unit="bytes", usual=[1_744_000_000], ours=[313_000_000], target=0.18),
        Bounded(what="peak memory of our build's process", unit="bytes", ours=60_400_000, target=200_000_000),
    ],
    notes=("Our build: Installing packages 100.0 s.",),
)
BOOT = MeasuredPart(rows=[Compared(what="start to SSH", usual=[70.0, 64.0, 80.0], ours=[21.0, 16.0, 24.0], target=0.3)])
RECORD = PerformanceRecord(
    measured_at=datetime(2026, 11, 23, 9, tzinfo=UTC),
    definition="bookworm",
    base="bootstrap:bookworm",
    base_sha256="a" * 64,
    commit="0123456789abcdef",
    dirty=True,
    cpu="Some CPU @ 2.00GHz",
    cores=2,
    memory=4 << 30,
    accelerator="tcg",
    accelerator_reason="`ret == n' failed",
    load=0.03,
    tools=["QEMU emulator version 7.2.22", "guestfish 1.48.6"],
    parts={"build": BUILD, "boot": BOOT},
)

GOLDEN = """\
| what | usual way | ours | ratio | target |  |
| --- | --- | --- | --- | --- | --- |
| build | 400.0 s | 140.0 s | 0.35 | ≤ 0.35 | reached |
| image file | 1,744.0 MB | 313.0 MB | 0.18 | ≤ 0.18 | reached |
| peak memory of our build's process |  | 60.4 MB |  | ≤ 200.0 MB | reached |
| start to SSH | 70.0 s (64.0 s to 80.0 s) | 21.0 s (16.0 s to 24.0 s) | 0.30 (0.25 to 0.30) | ≤ 0.30 | reached |

Our build: Installing packages 100.0 s.

Measured 2026-11-23 09:00 UTC at commit 0123456789ab, with changes; image `bookworm`, base `bootstrap:bookworm` \
(aaaaaaaaaaaa).

Machine: Some CPU @ 2.00GHz, 2 cores, 4.0 GiB; guests run with tcg ('ret == n' failed); \
load before the run 0.03; QEMU emulator version 7.2.22, guestfish 1.48.6.
"""


def test_the_document_has_the_figures_and_all_they_depend_on() -> None:
    assert RECORD.markdown() == GOLDEN


def test_a_ratio_is_of_the_medians_and_its_extremes_are_of_the_pairs() -> None:
    row = Compared(what="", usual=[20.0, 40.0, 100.0, 60.0], ours=[10.0, 30.0, 20.0, 45.0], target=1.0)
    assert row.cells()[1:4] == ("50.0 s (20.0 s to 100.0 s)", "25.0 s (10.0 s to 45.0 s)", "0.50 (0.20 to 0.75)")


def test_a_ratio_needs_a_partner_for_each_value() -> None:
    with pytest.raises(ValueError, match="zip"):
        Compared(what="", usual=[1.0], ours=[1.0, 2.0], target=1.0).cells()


def test_no_starts_are_no_comparison() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        Compared(what="", usual=[], ours=[], target=1.0)


@pytest.mark.parametrize(("ours", "verdict"), [(35.0, "reached"), (35.1, "missed")])
def test_a_ratio_is_held_to_its_target(ours: float, verdict: str) -> None:
    assert Compared(what="", usual=[100.0], ours=[ours], target=0.35).cells()[-1] == verdict


@pytest.mark.parametrize(("ours", "shown"), [(128, "128 MiB"), (136, "136 MiB"), (None, "none")])
def test_a_figure_is_held_to_its_bound_and_one_that_was_not_found_misses_it(ours: int | None, shown: str) -> None:
    row = Bounded(what="least memory", unit="MiB", ours=ours, target=128)
    assert row.cells()[2:] == (shown, "", "≤ 128 MiB", "reached" if ours == 128 else "missed")


def test_what_is_compared_is_measured_in_turns() -> None:
    measured: list[str] = []

    def way(name: str) -> float:
        measured.append(name)
        return float(len(measured))

    found = in_turns({"a": lambda: way("a"), "b": lambda: way("b")}, 2, quiet_reporter())
    assert measured == ["a", "b", "a", "b"]
    assert found == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "bench.json")
    assert read_record(tmp_path / "bench.json", PerformanceRecord) == RECORD
