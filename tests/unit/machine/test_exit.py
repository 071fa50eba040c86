import pytest

from ci.host.accelerator import Accelerator
from ci.host.errors import AcceleratorError, BootError, HostError, ToolsmithError
from ci.machine.exit import explain_exit


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
    error = explain_exit(code, reason, output, "the tail", Accelerator.TCG)
    assert type(error) is kind
    assert message in error.message
    assert error.hint
    assert error.details == "the tail"


@pytest.mark.parametrize(
    ("code", "output"),
    [
        (-6, "kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed."),
        (134, ""),
        (-11, "Booting from Hard Disk..."),
        (1, "qemu: failed to initialize kvm: Permission denied"),
        (1, "KVM internal error. Suberror: 1"),
    ],
)
def test_a_qemu_that_kvm_ended_is_told_from_one_that_ended_itself(code: int, output: str) -> None:
    error = explain_exit(code, "", output, "the tail", Accelerator.KVM)
    assert type(error) is AcceleratorError
    assert "with KVM" in error.message
    assert "TOOLSMITH_ACCELERATOR=tcg" in error.hint
    assert not isinstance(explain_exit(code, "", output, "the tail", Accelerator.TCG), AcceleratorError)


@pytest.mark.parametrize(
    ("code", "output"), [(-9, ""), (-15, ""), (1, "Image is not in qcow2 format"), (0, "KVM internal error")]
)
def test_kvm_is_not_blamed_for_another_end(code: int, output: str) -> None:
    assert type(explain_exit(code, "", output, "", Accelerator.KVM)) is BootError
