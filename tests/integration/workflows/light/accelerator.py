"""Stands in for the probe of KVM, which no test may depend on."""

from pathlib import Path

from ci.host.accelerator import DEVICE, NO_DEVICE, Fault


def works(device: Path = DEVICE) -> Fault | None:
    del device
    return None


def missing(device: Path = DEVICE) -> Fault | None:
    return Fault(what=f"{device} does not exist", fix=NO_DEVICE)
