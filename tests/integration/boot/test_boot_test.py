"""The whole boot test, on an image from a clean base and on one from a hostile base."""

import os
from pathlib import Path

import pytest

from ci.boot.boot import BOOT_SECONDS
from ci.host.files import sha256_file
from ci.host.process import run
from ci.host.repository import ROOT
from ci.records.record import read_record
from ci.records.validation import Outcome, ValidationReport
from tests.support.building import Built, build

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]


def validated(built: Built, *flags: str) -> ValidationReport:
    """Test the image as a person would, and return the report, which must list no failed check.

    Without the private key: the guest agent gives access, as it would for an image built with somebody else's key.
    """
    script, output = ROOT / "scripts" / "validate.sh", built.image.parent.with_name(f"{built.image.parent.name}-report")
    argv: list[str | os.PathLike[str]] = [script, built.image, "--output", output, "--log", output / "log", *flags]
    run(argv, timeout=20 * BOOT_SECONDS, ok=(0, 9))
    report = read_record(output / f"{built.record.name}.validation.json", ValidationReport)
    failed = [f"{check.boot}/{check.id}: {check.actual}" for check in report.checks if check.outcome is Outcome.FAILED]
    assert failed == []
    return report


# By day workflows/test_real_release.py puts a clean base through it, and boot/test_consumer_machine.py boots this one.
@pytest.mark.full
def test_an_image_from_a_clean_base_passes_every_check(built: Built) -> None:
    report = validated(built)
    assert report.passed
    assert {boot.name for boot in report.boots} == {"full", "clone", "consumer", "seed"}
    assert all(boot.ssh_seconds for boot in report.boots)
    assert report.boots[0].start
    assert {check.id for check in report.checks if check.outcome is Outcome.SKIPPED} == set()
    assert report.image_sha256 == built.record.image.sha256 == sha256_file(built.image)


def test_an_image_from_a_hostile_base_comes_out_the_same(
    hostile_base: Path, identity: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    output = tmp_path_factory.mktemp("hostile-dist")
    hardened = build(output, hostile_base, identity)
    # Two at a time, whatever processors there are: boots must not disturb each other.
    report = validated(hardened, "--side-by-side", "2")
    assert report.passed
    assert [boot.name for boot in report.boots] == ["full", "clone", "consumer", "seed"]
    assert sum(boot.total_seconds for boot in report.boots) > report.seconds
