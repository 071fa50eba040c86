"""Whether libguestfs's appliance starts on this machine, and is whole. No build needs a network in it."""

import tempfile
import time
from pathlib import Path

from ci.host.accelerator import Acceleration
from ci.host.appliance import guestfish
from ci.host.errors import BuildError, ToolError
from ci.host.prerequisites import Finding, Status

NO_START = (
    "see why: LIBGUESTFS_BACKEND=direct libguestfs-test-tool (without KVM add LIBGUESTFS_BACKEND_SETTINGS=force_tcg)"
)
INCOMPLETE = (
    "libguestfs put it together while packages were being installed: rm -r /var/tmp/.guestfs-$(id -u), and try again"
)
EVERYWHERE = "getent"  # a program that a whole appliance always has


def check_appliance(acceleration: Acceleration) -> list[Finding]:
    """Start the appliance once, and look whether it is whole. Raises AcceleratorError where KVM fails it."""
    begun = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="toolsmith-appliance-") as folder,
            guestfish.appliance(acceleration, Path(folder)) as guest,
        ):
            guest.command("scratch", "16M")  # libguestfs does not start without a disk
            guest.start()
            seconds = time.monotonic() - begun
            whole = guest.command("debug", "sh", f"command -v {EVERYWHERE} || true").strip()
    except (BuildError, ToolError) as error:
        found = error.details.strip().rpartition("\n")[2].removeprefix("libguestfs: error: ") or error.message
        return [Finding(name="appliance starts", found=found, status=Status.MISSING, fix=NO_START)]
    findings = [Finding(name="appliance starts", found=f"in {seconds:.0f} s")]
    if not whole:
        found = f"{EVERYWHERE} is missing"
        findings.append(Finding(name="appliance is complete", found=found, status=Status.MISSING, fix=INCOMPLETE))
    return findings
