"""Stands in for the session with the guest: the image holds noise, and the record says what a real one would."""

import os
from pathlib import Path

from ci.host.accelerator import Acceleration
from ci.host.process import run
from ci.host.progress import Reporter
from ci.image.build import Plan, _Provisioned
from tests.releasing import PACKAGES

# Large enough that an upload of it can be cut off half-way.
NOISE_MIB = 6


def provision(plan: Plan, disk: Path, work: Path, acceleration: Acceleration, reporter: Reporter) -> _Provisioned:
    del plan, acceleration
    with reporter.step("Making noise"):
        noise = work / "noise"
        noise.write_bytes(os.urandom(NOISE_MIB << 20))
        run(["qemu-io", "-f", "qcow2", "-c", f"write -s {noise} 0 {NOISE_MIB}M", disk], timeout=60)
    return _Provisioned(packages=PACKAGES, kernel="6.1.0-1-amd64")
