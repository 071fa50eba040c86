"""QEMU's arguments for a machine that commands are run in: the safe ones of docs/consuming.md. No effects here."""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from ci.host.accelerator import Acceleration
from ci.host.errors import InputError
from ci.host.qemu import QEMU, escape
from ci.machine.ssh import LOGIN, LOGIN_CHANNEL, WORKSPACE_TAG

AGENT_CHANNEL = "org.qemu.guest_agent.0"
# What QEMU listens on, each a socket of that name: its monitor (QMP), the serial console, the guest agent's channel,
# and the one that SSH goes through.
MONITOR, CONSOLE, AGENT = "monitor", "console", "agent"
CHANNELS = (MONITOR, CONSOLE, AGENT, LOGIN)
# Enough for a script in Python that installs and compiles. Memory that the guest does not touch is not taken.
MEMORY_MIB = 1024
# What the guest mounts at /mnt/TAG (build/guest/usr/lib/fountainkit/mount-shares); QEMU cuts longer ones.
TAG = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,30}")


class Network(str, Enum):  # noqa: UP042 - Python 3.10 has no StrEnum
    """What the guest reaches: nothing, or what this machine reaches."""

    NONE = "none"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """A machine to run commands in. Nothing is written back but what is written to `exports`, folders by their tags."""

    image: Path
    workspace: Path
    exports: Mapping[str, Path] = field(default_factory=dict)
    memory_mib: int = MEMORY_MIB
    network: Network = Network.NONE

    def argv(self, acceleration: Acceleration, handles: Mapping[str, int]) -> list[str]:
        """QEMU's command line. `handles` are listening sockets that it inherits, one for each of CHANNELS."""
        # fmt: off
        argv = [
            QEMU, *acceleration.accelerator.qemu_args, *_sandbox(),
            "-no-user-config", "-nodefaults", "-machine", "pc,graphics=off",
            "-display", "none", "-vga", "std", "-no-reboot",
            "-m", str(self.memory_mib), "-smp", "1",
            "-drive", f"file={escape(self.image)},if=none,id=root,snapshot=on,format=qcow2",
            "-device", "virtio-blk-pci,drive=root,bootindex=1",
            "-netdev", "user,id=net0" + (",restrict=on" if self.network is Network.NONE else ""),
            # Without its ROM, SeaBIOS does not try to boot from the network for half a minute.
            "-device", "virtio-net-pci,netdev=net0,romfile=",
            "-virtfs", f"{_share(WORKSPACE_TAG, self.workspace)},security_model=none,readonly=on",
        ]
        for tag, folder in self.exports.items():
            # Owners and modes are kept beside the file: no set-user-ID program comes out.
            argv += ["-virtfs", f"{_share(tag, folder)},security_model=mapped-xattr"]
        for name in CHANNELS:
            argv += ["-chardev", f"socket,id={name},fd={handles[name]},server=on,wait=off"]
        return [
            *argv, "-mon", f"chardev={MONITOR},mode=control", "-serial", f"chardev:{CONSOLE}",
            "-device", "virtio-serial-pci",
            "-device", f"virtserialport,chardev={AGENT},name={AGENT_CHANNEL}",
            "-device", f"virtserialport,chardev={LOGIN},name={LOGIN_CHANNEL}",
        ]
        # fmt: on


def parse_export(text: str) -> tuple[str, Path]:
    """The tag and the folder of `DIR:TAG`; raises InputError where it is something else."""
    folder, _, tag = text.rpartition(":")
    if not folder or not TAG.fullmatch(tag) or tag == WORKSPACE_TAG:
        raise InputError(
            f"--export {text} is not DIR:TAG",
            hint=f"Such as out:results: letters, digits, dot, dash and underscore, and not {WORKSPACE_TAG}.",
        )
    if not os.path.isdir(folder):  # noqa: PTH112 - a path may be anything, and Path would raise for a NUL
        raise InputError(f"--export {text}: there is no folder {folder}", hint="Make it first.")
    return tag, Path(folder).absolute()


def _sandbox() -> list[str]:
    return ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"] if sys.platform == "linux" else []


def _share(tag: str, folder: Path) -> str:
    return f"local,path={escape(folder)},mount_tag={escape(tag)}"
