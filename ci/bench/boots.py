"""Measure starts: of the base with a seed, of our image, of its floor, and of the consumer's machine.

The floor is the start of the same disk and kernel with an init that does nothing but report. Part of
`toolsmith-image bench`.
"""

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from ci.bench.builds import BenchSubject, our_image
from ci.bench.record import Compared, MeasuredPart, in_turns
from ci.boot import interruptible
from ci.boot.vm import machine, seed, ssh
from ci.boot.vm.qemu import SSH_PORT, ConsumerSpec, MachineSpec
from ci.host import qcow2
from ci.host.accelerator import CHOICE_VARIABLE
from ci.host.appliance import guestfish
from ci.host.errors import BootError
from ci.host.files import sha256_file
from ci.host.process import Argument, held_port, run
from ci.host.progress import Reporter
from ci.host.repository import ROOT
from ci.machine.ssh import USER
from ci.machine.warm import NO, VARIABLE
from ci.text import figures

CPUS = 2
MEMORY_MIB = 2048

# Limits in seconds for a machine with KVM.
BOOT_SECONDS = 90
COMMAND_SECONDS = 30

REPORT = "the floor is reached"
REPORTING_INIT = f"#!/bin/sh\necho '{REPORT}' >/dev/console\nexec sleep infinity\n"

# A machine, for a port of the host that leads to its SSH.
Spec: TypeAlias = Callable[[int], MachineSpec | ConsumerSpec]


def measure_boots(subject: BenchSubject, boots: int, reporter: Reporter) -> MeasuredPart:
    """Start everything in turns."""
    base, image = subject.base.path, our_image(subject, reporter)
    disk = seed.make_seed(subject.folder, seed_user_data(subject.key.public), instance="i-bench")
    with reporter.step("An overlay of our image with an init that only reports"):
        floor = floor_disk(subject, image)
    for path in (base, image):
        sha256_file(path)  # into the page cache
    ways: dict[str, Callable[[], float]] = {
        "the base": lambda: start_to_command(subject, boot_spec(base, disk)),
        "ours": lambda: start_to_command(subject, boot_spec(image)),
        "the floor": lambda: start_to_report(subject, boot_spec(floor)),
        "little memory": lambda: start_to_command(subject, consumer_spec(subject, image), "true"),
        "much memory": lambda: start_to_command(subject, consumer_spec(subject, image, MEMORY_MIB), "true"),
        "one line": lambda: one_line(subject, image, NO),
        "one line again": lambda: one_line(subject, image),
    }
    one_line(subject, image)  # keeps what the later ones go on from
    return compared_starts(*in_turns(ways, boots, reporter).values())


def compared_starts(*starts: Sequence[float]) -> MeasuredPart:
    """The rows of the figures from the seconds of all starts, in the order of `measure_boots`."""
    base, ours, floor, little, much, line, again = map(list, starts)
    what_floor = "start to SSH (usual way: an init that only reports)"
    what_line = "`run -- true`, all of it (usual way: start to the first command on 3023, 2 GiB)"
    what_little = "start to the first command on 3023, 128 MiB (usual way: 2 GiB)"
    note = (
        f"Starts: {len(ours)} of each, with {CPUS} CPUs and {MEMORY_MIB} MiB. The base with its seed: "
        f"{', '.join(map(figures.seconds, base))}. Our image: {', '.join(map(figures.seconds, ours))}."
    )
    return MeasuredPart(
        rows=[
            Compared(what="start to SSH", usual=base, ours=ours, target=0.3),
            Compared(what=what_floor, usual=floor, ours=ours, target=2.0),
            Compared(what=what_little, usual=much, ours=little, target=2.0),
            Compared(what=what_line, usual=much, ours=line, target=1.1),
            Compared(what="`run -- true`, again (usual way: the same cold)", usual=line, ours=again, target=0.15),
        ],
        notes=(note,),
    )


def floor_disk(subject: BenchSubject, image: Path) -> Path:
    """The image with another /sbin/init, as an overlay: the image itself is not touched."""
    overlay = subject.folder / "floor.qcow2"
    overlay.unlink(missing_ok=True)
    qcow2.create_overlay(image, overlay, qcow2.virtual_size(image))
    with guestfish.session(overlay, "qcow2", acceleration=subject.acceleration, temporary=subject.folder) as guest:
        guest.start()
        guest.command("mount", "/dev/sda1", "/")
        guest.command("rm-f", "/sbin/init")
        guest.write("/sbin/init", REPORTING_INIT)
        guest.command("chmod", "0755", "/sbin/init")
        guest.command("sync")
    return overlay


def boot_spec(image: Path, seed_disk: Path | None = None) -> Spec:
    """What base, image and floor are started in."""
    return lambda port: MachineSpec(
        image=image,
        memory_mib=MEMORY_MIB,
        cpus=CPUS,
        seed=seed_disk,
        forwards={port: SSH_PORT},
        instruments=False,
    )


def consumer_spec(subject: BenchSubject, image: Path, memory_mib: int | None = None) -> Spec:
    """Toolsmith's machine. It gives no -m, which is 128 MiB; None stands for it."""
    workspace = subject.folder / "workspace"
    workspace.mkdir(exist_ok=True)
    return lambda port: ConsumerSpec(image=image, workspace=workspace, host_port=port, memory_mib=memory_mib)


def start_to_command(subject: BenchSubject, spec: Spec, *commands: str, limit: float | None = None) -> float:
    """Seconds from QEMU's start to a login by SSH, and to the end of the commands where there are any.

    The login may take `limit` seconds. Raises BootError where it does not come, or a command fails.
    """
    limit = limit or subject.acceleration.scaled(BOOT_SECONDS)
    patience = subject.acceleration.scaled(COMMAND_SECONDS)

    async def start() -> float:
        with held_port() as port:
            async with (
                machine.start(spec(port), subject.acceleration, subject.folder) as running,
                await running.until(ssh.connect(port, USER, subject.key), limit, f"a login as {USER}") as session,
            ):
                for command in commands:
                    done = await running.until(session.run(command, patience), patience, "the end of a command")
                    if done.exit_status != 0:
                        words = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.exit_status}"
                        raise BootError(f"`{command.split()[0]}` failed: {words}")
                return round(running.elapsed(), 2)

    return interruptible.run(start())


def one_line(subject: BenchSubject, image: Path, warm: str = "") -> float:
    """Seconds that `toolsmith-image run -- true` takes as a new process; `warm` is NO for a cold one."""
    flags: list[Argument] = ["--image", image, "--workspace", subject.folder, "--memory", str(MEMORY_MIB)]
    done = run(
        [sys.executable, "-P", "-m", "ci", "run", *flags, "--", "true"],
        timeout=subject.acceleration.scaled(BOOT_SECONDS),
        env={"PYTHONPATH": str(ROOT), CHOICE_VARIABLE: subject.acceleration.accelerator.value, VARIABLE: warm},
    )
    return round(done.seconds, 2)


def start_to_report(subject: BenchSubject, spec: Spec) -> float:
    """Seconds from QEMU's start to the report on the console."""
    limit = subject.acceleration.scaled(BOOT_SECONDS)

    async def start() -> float:
        with held_port() as port:
            async with machine.start(spec(port), subject.acceleration, subject.folder) as running:
                seen = running.console.wait_for(re.compile(re.escape(REPORT)))
                return round(await running.until(seen, limit, "the report of the init"), 2)

    return interruptible.run(start())


def seed_user_data(public_key: str) -> str:
    """What makes a bare cloud image usable: a login user with a key."""
    sudo = "ALL=(ALL) NOPASSWD:ALL"
    user = {"name": USER, "shell": "/bin/bash", "sudo": sudo, "ssh_authorized_keys": [public_key]}
    return f"#cloud-config\n{json.dumps({'users': [user]}, indent=2)}\n"  # JSON is YAML
