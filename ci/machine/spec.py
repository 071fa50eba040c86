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
# Of a state that is kept: ci/machine/kept.py.
MEMORY, DISK = "memory", "disk.qcow2"
# Enough for a script in Python that installs and compiles. Memory that the guest does not touch is not taken.
MEMORY_MIB = 1024
# What the guest mounts at /mnt/TAG (build/guest/usr/lib/fountainkit/mount-shares); QEMU cuts longer ones.
TAG = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,30}")


class Network(str, Enum):  # noqa: UP042 - Python 3.10 has no StrEnum
    """What the guest reaches: nothing, or what this machine reaches."""

    NONE = "none"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class StateFiles:
    """The files of a machine's state in `folder`: to be made, or `resumed` from, which leaves them as they are.

    They are made with nothing of a run: its shares are those of an empty folder.
    """

    folder: Path
    resumed: bool

    @property
    def memory(self) -> Path:
        """What the machine has in its memory, as far as it ever used that."""
        return self.folder / MEMORY

    @property
    def disk(self) -> Path:
        """What it wrote to its disk: an overlay of the image."""
        return self.folder / DISK

    @property
    def nothing(self) -> Path:
        """A folder with nothing in it."""
        return self.folder.parent / "nothing"


@dataclass(frozen=True, slots=True)
class SessionSpec:
    """A machine to run commands in. Nothing is written back but what is written to `exports`, folders by their tags."""

    image: Path
    workspace: Path
    exports: Mapping[str, Path] = field(default_factory=dict)
    memory_mib: int = MEMORY_MIB
    network: Network = Network.NONE

    def argv(
        self, acceleration: Acceleration, handles: Mapping[str, int], state: StateFiles | None = None
    ) -> list[str]:
        """QEMU's command line. `handles` are listening sockets that it inherits, one for each of CHANNELS."""
        board = "pc,graphics=off" + (",memory-backend=memory" if state else "")
        # fmt: off
        argv = [
            QEMU, *acceleration.accelerator.qemu_args, *_sandbox(),
            "-no-user-config", "-nodefaults", "-machine", board,
            "-display", "none", "-vga", "std", "-no-reboot",
            "-m", str(self.memory_mib), "-smp", "1",
            *self._storage(state),
            "-device", "virtio-blk-pci,drive=root,bootindex=1",
            "-netdev", "user,id=net0" + (",restrict=on" if self.network is Network.NONE else ""),
            # Without its ROM, SeaBIOS does not try to boot from the network for half a minute.
            "-device", "virtio-net-pci,netdev=net0,romfile=",
            *self._shares(state),
        ]
        for name in CHANNELS:
            argv += ["-chardev", f"socket,id={name},fd={handles[name]},server=on,wait=off"]
        return [
            *argv, "-mon", f"chardev={MONITOR},mode=control", "-serial", f"chardev:{CONSOLE}",
            "-device", "virtio-serial-pci",
            "-device", f"virtserialport,chardev={AGENT},name={AGENT_CHANNEL}",
            "-device", f"virtserialport,chardev={LOGIN},name={LOGIN_CHANNEL}",
            *(["-incoming", "defer"] if state and state.resumed else []),
        ]
        # fmt: on

    def _storage(self, state: StateFiles | None) -> list[str]:
        """The disk, and, with a `state`, the memory: in a file, which is written while it is made, and never later."""
        if state is None:
            return ["-drive", f"file={escape(self.image)},if=none,id=root,snapshot=on,format=qcow2"]
        made, resumed = ("off", "on") if state.resumed else ("on", "off")
        memory = f"size={self.memory_mib}M,mem-path={escape(state.memory)},share={made}"
        # The image may be elsewhere today: its path in the overlay is of no account.
        image = f"backing.driver=qcow2,backing.file.driver=file,backing.file.filename={escape(self.image)}"
        # fmt: off
        return [
            "-object", f"memory-backend-file,id=memory,{memory}",
            "-drive", f"file={escape(state.disk)},if=none,id=root,snapshot={resumed},format=qcow2,{image}",
            # Tells Linux, from 5.18, that it is another machine from here on.
            "-device", "vmgenid,guid=auto",
        ]
        # fmt: on

    def _shares(self, state: StateFiles | None) -> list[str]:
        shares = [(WORKSPACE_TAG, self.workspace, "security_model=none,readonly=on")]
        # Owners and modes are kept beside the file: no set-user-ID program comes out.
        shares += [(tag, folder, "security_model=mapped-xattr") for tag, folder in self.exports.items()]
        if state and not state.resumed:
            shares = [(tag, state.nothing, how) for tag, _, how in shares]
        argv = []
        for tag, folder, how in shares:
            argv += ["-virtfs", f"local,path={escape(folder)},mount_tag={escape(tag)},{how}"]
        return argv


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
