"""Measure starts: of the base with a seed, of our image, of its floor, and of the consumer's machine.

The floor is the start of the same disk and kernel with an init that does nothing but report. Part of
`python -m ci.bench`.
"""

import json
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ci.bench.image import BenchedImage
from ci.bench.record import BootComparison, Stages
from ci.boot import interruptible
from ci.boot.vm import machine, seed, ssh
from ci.boot.vm.qemu import ConsumerSpec, Forward, MachineSpec
from ci.host import qcow2
from ci.host.appliance import guestfish
from ci.host.errors import BootError
from ci.host.files import sha256_file
from ci.host.process import held_port
from ci.host.progress import Reporter

USER = "fountain"
CPUS = 2
MEMORY_MIB = 2048
# Toolsmith gives no -m, which is 128 MiB; None stands for it.
CONSUMER_MEMORY_MIB = (None, 2048)
QEMU_MEMORY_MIB = 128

# Limits in seconds for a machine with KVM.
BOOT_SECONDS = 90
COMMAND_SECONDS = 30

# The kernel's clock runs from its own start; systemd notes on it when it was started itself, after the initramfs.
# As root: SSH is there before D-Bus, through which everybody else asks systemd.
CLOCKS = "cut -d' ' -f1 /proc/uptime && sudo -n systemctl show --value --property=UserspaceTimestampMonotonic"

REPORT = "the floor is reached"
REPORTING_INIT = f"#!/bin/sh\necho '{REPORT}' >/dev/console\nexec sleep infinity\n"

# Takes the host's port, and the folder for logs.
Starting: TypeAlias = Callable[[int, Path], Coroutine[Any, Any, float]]


def measure_boots(bench: BenchedImage, base: Path, boots: int, reporter: Reporter) -> BootComparison:
    """Start everything in turns, so that what else happens on the machine meets all alike."""
    key = ssh.load_key(bench.identity.read_text(encoding="utf-8"))
    disk = seed.make_seed(bench.folder, seed_user_data(key.public), seed.meta_data(instance="i-bench"))
    with reporter.step("An overlay of our image with an init that only reports"):
        floor = floor_disk(bench)
    workspace = bench.folder / "workspace"
    workspace.mkdir(exist_ok=True)
    for path in (base, bench.image):
        sha256_file(path)  # into the page cache
    little, much = CONSUMER_MEMORY_MIB
    of_base: list[Start] = []
    of_ours: list[Start] = []

    def kept(starts: list[Start], image: Path, seed_disk: Path | None) -> Starting:
        async def start(port: int, logs: Path) -> float:
            starts.append(await start_to_both(bench, boot_spec(image, seed_disk, port), key, logs))
            return starts[-1].login

        return start

    def consumer(memory_mib: int | None) -> Starting:
        return lambda port, logs: start_to_command(
            bench, consumer_spec(bench.image, workspace, port, memory_mib), key, logs
        )

    starts: dict[str, Starting] = {
        "base": kept(of_base, base, disk),
        "ours": kept(of_ours, bench.image, None),
        "floor": lambda port, logs: start_to_report(bench, boot_spec(floor, None, port), logs),
        "little": consumer(little),
        "much": consumer(much),
    }
    seconds = in_turns(bench, starts, boots, reporter)
    with reporter.step(f"The base with {QEMU_MEMORY_MIB} MiB"), held_port() as port:
        base_little = outcome_of_login(bench, boot_spec(base, disk, port, QEMU_MEMORY_MIB), key)
    return BootComparison(
        **seconds,
        base_command=[start.command for start in of_base],
        base_stages=[start.stages for start in of_base],
        stages=[start.stages for start in of_ours],
        base_little=base_little,
        memory_mib=MEMORY_MIB,
        cpus=CPUS,
    )


def in_turns(
    bench: BenchedImage, starts: Mapping[str, Starting], boots: int, reporter: Reporter
) -> dict[str, list[float]]:
    """The seconds of `boots` starts of each; every start gets a port and a folder for its logs."""
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    for number in range(1, boots + 1):
        for name, start in starts.items():
            logs = bench.folder / f"boot-{name}-{number}"
            logs.mkdir(exist_ok=True)
            with reporter.step(f"Boot {number} of {boots}: {name}"), held_port() as port:
                seconds[name].append(round(interruptible.run(start(port, logs)), 2))
    return seconds


def floor_disk(bench: BenchedImage) -> Path:
    """The image with another /sbin/init, as an overlay: the image itself is not touched."""
    overlay = bench.folder / "floor.qcow2"
    overlay.unlink(missing_ok=True)
    qcow2.create_overlay(bench.image, overlay, qcow2.info(bench.image).virtual_size)
    with guestfish.session(overlay, "qcow2", acceleration=bench.acceleration, temporary=bench.folder) as guest:
        guest.start()
        guest.command("mount", "/dev/sda1", "/")
        guest.command("rm-f", "/sbin/init")
        guest.write("/sbin/init", REPORTING_INIT)
        guest.command("chmod", "0755", "/sbin/init")
        guest.command("sync")
    return overlay


def boot_spec(image: Path, seed_disk: Path | None, port: int, memory_mib: int = MEMORY_MIB) -> MachineSpec:
    """The machine both are started in."""
    return MachineSpec(
        image=image,
        memory_mib=memory_mib,
        cpus=CPUS,
        seed=seed_disk,
        forwards=(Forward(host_port=port),),
        instruments=False,
    )


def consumer_spec(image: Path, workspace: Path, port: int, memory_mib: int | None) -> ConsumerSpec:
    """Toolsmith's machine, with its memory or more."""
    return ConsumerSpec(image=image, workspace=workspace, host_port=port, memory_mib=memory_mib)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds from QEMU's start to the first login, and to the end of the first command; and what came before."""

    login: float
    command: float
    stages: Stages


async def start_to_both(bench: BenchedImage, spec: MachineSpec, key: ssh.Key, logs: Path) -> Start:
    """Start, log in, and run a command."""
    limit = bench.acceleration.scaled(BOOT_SECONDS)
    patience = bench.acceleration.scaled(COMMAND_SECONDS)
    async with machine.start(spec, bench.acceleration, logs) as running:
        port = spec.forwards[0].host_port
        async with await running.until(ssh.connect(port, USER, key), limit, f"a login as {USER}") as session:
            login = round(running.elapsed(), 2)
            await session.run("true", patience)
            command = round(running.elapsed(), 2)
            clocks = await session.run(CLOCKS, patience)
            return Start(login=login, command=command, stages=stages_of(login, running.elapsed(), clocks.stdout))


def stages_of(login: float, now: float, clocks: str) -> Stages:
    """What a start to the `login` was made of, by what CLOCKS says `now`; both in seconds from QEMU's start."""
    uptime, microseconds = clocks.split()
    loader = now - float(uptime)
    kernel = int(microseconds) / 1e6
    return Stages(loader=round(loader, 2), kernel=round(kernel, 2), services=round(login - loader - kernel, 2))


def outcome_of_login(bench: BenchedImage, spec: MachineSpec, key: ssh.Key) -> str:
    """What a start comes to that may fail: its seconds to the first login, or why there was none."""
    logs = bench.folder / "boot-base-little"
    logs.mkdir(exist_ok=True)
    try:
        return f"a login after {interruptible.run(start_to_both(bench, spec, key, logs)).login:.1f} s"
    except BootError as error:
        return error.message


async def start_to_command(bench: BenchedImage, spec: ConsumerSpec, key: ssh.Key, logs: Path) -> float:
    """Seconds from QEMU's start to the end of the first command."""
    limit = bench.acceleration.scaled(BOOT_SECONDS)
    async with machine.start(spec, bench.acceleration, logs) as running:
        session = await running.until(ssh.connect(spec.host_port, USER, key), limit, f"a login as {USER}")
        async with session:
            await session.run("true", bench.acceleration.scaled(COMMAND_SECONDS))
            return running.elapsed()


async def start_to_report(bench: BenchedImage, spec: MachineSpec, logs: Path) -> float:
    """Seconds from QEMU's start to the report on its console."""
    limit = bench.acceleration.scaled(BOOT_SECONDS)
    async with machine.start(spec, bench.acceleration, logs) as running:
        seen = running.console.wait_for(re.compile(re.escape(REPORT)))
        return await running.until(seen, limit, "the report of the init")


def seed_user_data(public_key: str) -> str:
    """What makes a bare cloud image usable: a login user with a key."""
    user = {
        "name": USER,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": [public_key],
    }
    return f"#cloud-config\n{json.dumps({'users': [user]}, indent=2)}\n"  # JSON is YAML
