from itertools import pairwise
from pathlib import Path

import pytest

from ci.boot.vm.qemu import SCSI_DISK, SEED_CD, ConsumerSpec, MachineSpec
from ci.host.accelerator import Acceleration, Accelerator


def words(line: str) -> list[str]:
    return line.split()


KVM = Acceleration(accelerator=Accelerator.KVM, reason="a test")
TCG = Acceleration(accelerator=Accelerator.TCG, reason="a test")
SOCKETS = Path("/run/t")

INSTRUMENTS = words(
    "-chardev socket,id=qmp,path=/run/t/qmp -mon chardev=qmp,mode=control"
    " -chardev socket,id=agent,path=/run/t/agent -device virtio-serial-pci"
    " -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0"
)


def test_our_own_machine_has_a_serial_console_no_window_and_no_second_start() -> None:
    spec = MachineSpec(image=Path("/dist/image.qcow2"), memory_mib=512, cpus=2)
    assert spec.argv(TCG, SOCKETS) == [
        *words("qemu-system-x86_64 -accel tcg,thread=multi -cpu max -no-user-config -nodefaults"),
        *words("-machine pc,graphics=off -display none -vga std -serial stdio -no-reboot -m 512 -smp 2"),
        *words("-drive file=/dist/image.qcow2,if=none,id=root,snapshot=on,format=qcow2"),
        *words("-device virtio-blk-pci,drive=root,bootindex=1"),
        *words("-netdev user,id=net0 -device virtio-net-pci,netdev=net0,romfile="),
        *INSTRUMENTS,
    ]


def test_our_own_machine_takes_a_seed_and_forwards() -> None:
    spec = MachineSpec(
        image=Path("/i.qcow2"),
        seed=Path("/seed.img"),
        forwards={2222: 22, 2223: 3023},
        instruments=False,
    )
    argv = spec.argv(KVM, None)
    assert argv[argv.index("-drive") :] == [
        *words("-drive file=/i.qcow2,if=none,id=root,snapshot=on,format=qcow2"),
        *words("-device virtio-blk-pci,drive=root,bootindex=1"),
        *words("-drive file=/seed.img,if=none,id=seed,format=raw,readonly=on -device virtio-blk-pci,drive=seed"),
        "-netdev",
        "user,id=net0,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=tcp:127.0.0.1:2223-:3023",
        *words("-device virtio-net-pci,netdev=net0,romfile="),
    ]


def test_a_disk_on_another_bus_comes_after_its_bus_and_is_what_the_firmware_starts() -> None:
    spec = MachineSpec(image=Path("/i"), machine="q35", disk=SCSI_DISK, seed=Path("/s"), seed_drive=SEED_CD)
    argv = spec.argv(TCG, None)
    assert "q35,graphics=off" in argv
    devices = [value for option, value in pairwise(argv) if option == "-device"]
    assert devices[:3] == ["virtio-scsi-pci,id=scsi", "scsi-hd,bus=scsi.0,drive=root,bootindex=1", "ide-cd,drive=seed"]


def test_the_consumers_machine_has_the_consumers_arguments_in_its_order() -> None:
    spec = ConsumerSpec(image=Path("/cache/image.qcow2"), workspace=Path("/ws"), host_port=40000)
    assert spec.argv(KVM, None) == [
        *words("qemu-system-x86_64 -enable-kvm -drive file=/cache/image.qcow2,if=virtio,snapshot=on"),
        *words("-virtfs local,path=/ws,mount_tag=work,security_model=none,readonly"),
        *words("-netdev user,id=net0,hostfwd=tcp:127.0.0.1:40000-:3023"),
        *words("-device virtio-net-pci,netdev=net0 -nographic"),
    ]


def test_without_kvm_only_the_accelerator_of_the_consumers_machine_differs() -> None:
    spec = ConsumerSpec(image=Path("/i.qcow2"), workspace=Path("/ws"), host_port=40000)
    with_kvm, without = spec.argv(KVM, None), spec.argv(TCG, None)
    assert without == [with_kvm[0], "-accel", "tcg", *with_kvm[2:]]


def test_exports_memory_and_instruments_are_added_to_the_consumers_machine_when_asked_for() -> None:
    plain = ConsumerSpec(image=Path("/i.qcow2"), workspace=Path("/ws"), host_port=40000)
    more = ConsumerSpec(
        image=Path("/i.qcow2"),
        workspace=Path("/ws"),
        host_port=40000,
        exports={"out": Path("/o")},
        memory_mib=256,
        instruments=True,
    )
    expected = plain.argv(KVM, None)
    at = expected.index("-netdev")
    expected[at:at] = ["-virtfs", "local,path=/o,mount_tag=out,security_model=none"]
    assert more.argv(KVM, SOCKETS) == [*expected, "-m", "256", *INSTRUMENTS]


@pytest.mark.parametrize("kind", ["ours", "consumer's"])
def test_a_comma_in_a_path_is_doubled(kind: str) -> None:
    odd = Path("/a,b")
    spec: MachineSpec | ConsumerSpec
    if kind == "ours":
        spec = MachineSpec(image=odd / "i", seed=odd / "s", instruments=False)
    else:
        spec = ConsumerSpec(image=odd / "i", workspace=odd, host_port=1)
    values = [argument for argument in spec.argv(TCG, None) if "/a" in argument]
    assert len(values) == 2
    assert all("/a,,b" in value for value in values)
