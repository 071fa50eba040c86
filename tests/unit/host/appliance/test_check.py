from contextlib import nullcontext

import pytest
from pytest_mock import MockerFixture

from ci.host.accelerator import Acceleration, Accelerator
from ci.host.appliance import guestfish
from ci.host.appliance.check import check_appliance
from ci.host.errors import BuildError, ToolError
from ci.host.prerequisites import Finding, Status
from tests.support.scripted_guest import ScriptedGuest

TCG = Acceleration(accelerator=Accelerator.TCG, reason="chosen")


def found(mocker: MockerFixture, guest: ScriptedGuest) -> list[Finding]:
    mocker.patch.object(guestfish, "appliance", return_value=nullcontext(guest))
    return check_appliance(TCG)


def test_a_whole_appliance_that_starts_is_fine(mocker: MockerFixture) -> None:
    (finding,) = found(mocker, ScriptedGuest({"debug sh command -v getent || true": "/usr/bin/getent\n"}))
    assert (finding.name, finding.status) == ("appliance starts", Status.OK)


def test_an_appliance_that_lacks_a_package_is_told_as_such(mocker: MockerFixture) -> None:
    _, finding = found(mocker, ScriptedGuest())
    assert (finding.name, finding.status) == ("appliance is complete", Status.MISSING)
    assert ".guestfs-" in finding.fix


@pytest.mark.parametrize("kind", [BuildError, ToolError])
def test_why_it_does_not_start_is_told_in_libguestfss_own_words(
    mocker: MockerFixture, kind: type[BuildError | ToolError]
) -> None:
    error = kind("it failed", details="libguestfs: error: no kernel\n\n")
    mocker.patch.object(guestfish, "appliance", side_effect=error)
    (finding,) = check_appliance(TCG)
    assert (finding.found, finding.status) == ("no kernel", Status.MISSING)
    assert "libguestfs-test-tool" in finding.fix
