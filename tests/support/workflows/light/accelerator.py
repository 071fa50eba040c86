"""Stands in for the probe of KVM, which no test may depend on."""

from pathlib import Path

from ci.host.kvm.device import DEVICE, NO_DEVICE, Fault


def works(device: Path = DEVICE, *, anew: bool = False) -> Fault | None:
    del device, anew
    return None


def missing(device: Path = DEVICE, *, anew: bool = False) -> Fault | None:
    del anew
    return Fault(what=f"{device} does not exist", fix=NO_DEVICE)
