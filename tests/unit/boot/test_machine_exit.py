import pytest

from ci.boot.machine import explain_exit
from ci.host.errors import BootError, HostError, ToolsmithError


@pytest.mark.parametrize(
    ("code", "reason", "output", "kind", "message"),
    [
        (
            1,
            "",
            "qemu: -netdev user,hostfwd=x: Could not set up host forwarding rule 'tcp:127.0.0.1:2222-:22'",
            HostError,
            "port 2222 is already in use",
        ),
        (1, "", "qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory", HostError, "too little memory"),
        (1, "", "qemu: failed to initialize kvm: Permission denied", HostError, "KVM does not work"),
        (1, "", "qemu: -drive: Image is not in qcow2 format", BootError, "QEMU ended with exit code 1"),
        (-6, "", "error: failed to set MSR", BootError, "QEMU was killed by signal 6"),
        (0, "guest-shutdown", "", BootError, "the guest powered itself off"),
        (0, "guest-reset", "", BootError, "the guest reset itself"),
        (0, "", "Cannot allocate memory, said the guest", BootError, "the guest powered off, or reset itself"),
    ],
)
def test_why_qemu_ended_is_told_apart(
    code: int, reason: str, output: str, kind: type[ToolsmithError], message: str
) -> None:
    error = explain_exit(code, reason, output, "the tail")
    assert type(error) is kind
    assert message in error.message
    assert error.hint
    assert error.details == "the tail"
