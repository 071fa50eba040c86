"""Stands in for a start of libguestfs's appliance."""

from ci.host.accelerator import Acceleration
from ci.host.prerequisites import Finding


def check_appliance(acceleration: Acceleration) -> list[Finding]:
    del acceleration
    return [Finding(name="appliance starts", found="as if")]
