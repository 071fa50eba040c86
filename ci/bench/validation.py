"""Measure the whole boot test: with one boot at a time, and with several side by side. Part of `python -m ci.bench`."""

import sys

from ci.bench.image import BenchedImage
from ci.bench.record import ValidationComparison
from ci.host.files import sha256_file
from ci.host.process import Argument, run
from ci.host.progress import Reporter
from ci.host.repository import ROOT

# Whatever the processors: that several do not pay on few is worth a figure too.
AT_A_TIME = 2
# Limit in seconds for a machine with KVM.
SECONDS = 600


def measure_validation(bench: BenchedImage, reporter: Reporter) -> ValidationComparison:
    """Test the image twice; raises ToolError where it does not pass."""
    sha256_file(bench.image)  # into the page cache
    seconds = [_seconds(bench, number, reporter) for number in (1, AT_A_TIME)]
    return ValidationComparison(one_by_one=seconds[0], side_by_side=seconds[1], at_a_time=AT_A_TIME)


def _seconds(bench: BenchedImage, at_a_time: int, reporter: Reporter) -> float:
    output = bench.folder / f"validation-{at_a_time}"
    argv: list[Argument] = [
        sys.executable, "-m", "ci.validate_image", bench.image, "--identity", bench.identity, "--output", output,
        "--accel", bench.acceleration.accelerator.value, "--side-by-side", str(at_a_time),
    ]  # fmt: skip
    with reporter.step(f"The whole boot test, {at_a_time} at a time"):
        return round(run(argv, cwd=ROOT, timeout=bench.acceleration.scaled(SECONDS)).seconds, 2)
