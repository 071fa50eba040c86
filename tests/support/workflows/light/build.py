"""Stands in for the session with the guest: the image holds two packages and noise."""

import os
from pathlib import Path

from ci.host import qcow2
from ci.host.accelerator import Acceleration
from ci.host.progress import Reporter
from ci.image.make_image import Provisioned
from ci.image.packages.transaction import Transaction
from ci.image.plan import Plan
from tests.support.disks import debian_tree, make_disk
from tests.support.releasing import PACKAGES

# Large enough that an upload of it can be cut off half-way.
NOISE_MIB = 6


def provision(plan: Plan, image: Path, work: Path, acceleration: Acceleration, reporter: Reporter) -> Provisioned:
    with reporter.step("Making noise"):
        tree, raw = debian_tree(work / "tree", PACKAGES), work / "small.raw"
        (tree / "noise").write_bytes(os.urandom(NOISE_MIB << 20))
        make_disk(raw, tree)
        os.truncate(raw, plan.disk_bytes)
        qcow2.convert_compressed(raw, image, source_format=qcow2.DiskFormat.RAW)
    return Provisioned(
        acceleration=acceleration,
        transaction=Transaction(request=(), changes=(), install=()),
        kernel="6.1.0-1-amd64",
        drivers={},
        folder_sizes="1\t/usr\n1\t/\n",
    )
