"""QEMU's arguments: for the boot test's own starts, and for the one that copies the consumer. No effects here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ci.host.accelerator import Acceleration, Accelerator
from ci.host.qemu import QEMU, escape
from ci.machine.spec import AGENT_CHANNEL
from ci.machine.ssh import WORKSPACE_TAG

LOOPBACK = "127.0.0.1"
# Where QEMU finds us listening: for its monitor (QMP), and for the guest agent's channel.
QMP_SOCKET = "qmp"
AGENT_SOCKET = "agent"
# A drive as QEMU's devices have it: its bus, unless the machine has that, and the drive on it.
Devices: TypeAlias = tuple[str, ...]
ROOT, SEED, SECOND = "root", "seed", "second"
VIRTIO_DISK = (f"virtio-blk-pci,drive={ROOT}",)
SCSI_DISK = ("virtio-scsi-pci,id=scsi", f"scsi-hd,bus=scsi.0,drive={ROOT}")
SEED_DISK = (f"virtio-blk-pci,drive={SEED}",)
SEED_CD = (f"ide-cd,drive={SEED}",)
CONSUMER_PORT = 3023
SSH_PORT = 22
MAC_ADDRESS = "52:54:00:12:34:56"  # of the first card, unless told otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """A virtual machine as the boot test wants it. The image is never written to.

    `forwards` are TCP ports of the host's loopback, with those of the guest to which they lead. `instruments` are the
    monitor and the guest agent's channel. `machine` is QEMU's type of board.
    """

    image: Path
    memory_mib: int = 1024
    cpus: int = 1
    machine: str = "pc"
    disk: Devices = VIRTIO_DISK
    forwards: Mapping[int, int] = field(default_factory=dict)
    seed: Path | None = None
    seed_drive: Devices = SEED_DISK
    instruments: bool = True

    def argv(self, acceleration: Acceleration, sockets: Path | None) -> list[str]:
        """QEMU's command line; the serial console is on its stdout. Without `sockets`, their folder, no instruments."""
        # fmt: off
        argv = [
            QEMU, *acceleration.accelerator.qemu_args,
            # Without graphics SeaBIOS and GRUB show their errors on the serial port too; the VGA card is for pictures.
            "-no-user-config", "-nodefaults", "-machine", f"{self.machine},graphics=off",
            "-display", "none", "-vga", "std", "-serial", "stdio", "-no-reboot",
            "-m", str(self.memory_mib), "-smp", str(self.cpus),
            "-drive", f"file={escape(self.image)},if=none,id={ROOT},snapshot=on,format=qcow2",
            *_devices(self.disk, ",bootindex=1"),
        ]
        if self.seed is not None:
            argv += ["-drive", f"file={escape(self.seed)},if=none,id={SEED},format=raw,readonly=on"]
            argv += _devices(self.seed_drive)
        argv += [
            "-netdev", ",".join(["user", "id=net0", *(_hostfwd(*forward) for forward in self.forwards.items())]),
            # Without its ROM, SeaBIOS does not try to boot from the network for half a minute.
            "-device", "virtio-net-pci,netdev=net0,romfile=",
        ]
        # fmt: on
        return argv + _instruments(sockets)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSpec:
    """A virtual machine as Toolsmith starts it.

    `workspace` is shared read-only, and the folders of `exports`, by their tags, for writing. Toolsmith gives no
    `memory_mib` (None), which makes it QEMU's default of 128, and it has no instruments.
    """

    image: Path
    workspace: Path
    host_port: int
    exports: Mapping[str, Path] = field(default_factory=dict)
    memory_mib: int | None = None
    instruments: bool = False

    def argv(self, acceleration: Acceleration, sockets: Path | None) -> list[str]:
        """QEMU's command line exactly as Toolsmith writes it; without KVM the accelerator is another.

        Memory and instruments come after it, and only where they are asked for.
        """
        accelerator = ["-enable-kvm"] if acceleration.accelerator is Accelerator.KVM else ["-accel", "tcg"]
        # fmt: off
        argv = [
            QEMU, *accelerator,
            "-drive", f"file={escape(self.image)},if=virtio,snapshot=on",
            "-virtfs", f"{_virtfs(WORKSPACE_TAG, self.workspace)},readonly",
        ]
        for tag, path in self.exports.items():
            argv += ["-virtfs", _virtfs(tag, path)]
        argv += [
            "-netdev", f"user,id=net0,{_hostfwd(self.host_port, CONSUMER_PORT)}",
            "-device", "virtio-net-pci,netdev=net0",
            "-nographic",
        ]
        # fmt: on
        if self.memory_mib is not None:
            argv += ["-m", str(self.memory_mib)]
        return argv + _instruments(sockets)


def _devices(devices: Devices, last: str = "") -> list[str]:
    *buses, drive = devices
    return [word for device in (*buses, f"{drive}{last}") for word in ("-device", device)]


def _virtfs(tag: str, path: Path) -> str:
    return f"local,path={escape(path)},mount_tag={escape(tag)},security_model=none"


def _hostfwd(host_port: int, guest_port: int) -> str:
    return f"hostfwd=tcp:{LOOPBACK}:{host_port}-:{guest_port}"


def _instruments(sockets: Path | None) -> list[str]:
    if sockets is None:
        return []
    # fmt: off
    return [
        "-chardev", f"socket,id=qmp,path={escape(sockets / QMP_SOCKET)}",
        "-mon", "chardev=qmp,mode=control",
        "-chardev", f"socket,id=agent,path={escape(sockets / AGENT_SOCKET)}",
        "-device", "virtio-serial-pci",
        "-device", f"virtserialport,chardev=agent,name={AGENT_CHANNEL}",
    ]
    # fmt: on
