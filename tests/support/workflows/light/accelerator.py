"""Stands in for the probe of KVM, which no test may depend on."""

from pathlib import Path

from ci.host.accelerator.kvm_device import DEVICE, NO_DEVICE, KvmFault


def works(device: Path = DEVICE, *, anew: bool = False) -> KvmFault | None:
    del device, anew
    return None


def missing(device: Path = DEVICE, *, anew: bool = False) -> KvmFault | None:
    del anew
    return KvmFault(what=f"{device} does not exist", fix=NO_DEVICE)
