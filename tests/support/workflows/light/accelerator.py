"""Stands in for the probe of KVM, which no test may depend on."""

from ci.host.accelerator.kvm_device import DEVICE, NO_DEVICE, KvmFault


def works(*, anew: bool = False) -> KvmFault | None:
    del anew
    return None


def missing(*, anew: bool = False) -> KvmFault | None:
    del anew
    return KvmFault(what=f"{DEVICE} does not exist", fix=NO_DEVICE)
