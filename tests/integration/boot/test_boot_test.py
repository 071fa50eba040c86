"""The whole boot test, as a person calls it, with two boots at a time."""

import os

import pytest

from ci.boot.boot import BOOT_SECONDS
from ci.host.files import sha256_file
from ci.host.process import run
from ci.host.repository import ROOT
from ci.records.record import read_record
from ci.records.validation import Outcome, ValidationReport
from tests.support.building import Built

pytestmark = [pytest.mark.integration, pytest.mark.full, pytest.mark.timeout(3600)]


# By day workflows/test_real_release.py puts an image of the same base through it, one boot after the other where there
# are two processors; and `make generations` images of clean bases by night.
def test_boots_side_by_side_do_not_disturb_each_other(built: Built) -> None:
    script, output = ROOT / "scripts" / "validate.sh", built.image.parent.with_name("dist-report")
    # Without the private key: the guest agent gives access, as it would for an image built with somebody else's key.
    argv: list[str | os.PathLike[str]] = [script, built.image, "--output", output, "--log", output / "log"]
    run([*argv, "--side-by-side", "2"], timeout=20 * BOOT_SECONDS, ok=(0, 9))
    report = read_record(output / f"{built.record.name}.validation.json", ValidationReport)
    assert [check for check in report.checks if check.outcome is not Outcome.PASSED] == []
    assert report.passed
    assert [boot.name for boot in report.boots] == ["full", "clone", "consumer", "seed"]
    assert sum(boot.total_seconds for boot in report.boots) > report.seconds
    assert all(boot.ssh_seconds for boot in report.boots)
    assert report.boots[0].start
    assert report.image_sha256 == built.record.image.sha256 == sha256_file(built.image)
