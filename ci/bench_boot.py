"""Measure starts: of the base with a seed, of our image, of its floor, and of the consumer's machine.

The floor is the start of the same disk and kernel with an init that does nothing but report. Part of
`python -m ci.bench`.
"""

import json
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.boot import loop, machine, seed, ssh
from ci.boot.qemu import ConsumerSpec, Forward, MachineSpec
from ci.host.accelerator import Acceleration
from ci.host.errors import BootError
from ci.host.files import sha256_file
from ci.host.progress import Reporter
from ci.image import guestfish, qcow2
from ci.records.performance import BootComparison

USER = "fountain"
CPUS = 2
MEMORY_MIB = 2048
# Toolsmith gives no -m, which is 128 MiB; None stands for it.
CONSUMER_MEMORY_MIB = (None, 2048)
QEMU_MEMORY_MIB = 128

# Limits in seconds for a machine with KVM.
BOOT_SECONDS = 90
COMMAND_SECONDS = 30

REPORT = "the floor is reached"
REPORTING_INIT = f"#!/bin/sh\necho '{REPORT}' >/dev/console\nexec sleep infinity\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootBench:
    """What is started. `identity` is the private key that the image lets in; `folder` takes logs and overlays."""

    base: Path
    image: Path
    identity: Path
    folder: Path
    acceleration: Acceleration


def measure_boots(bench: BootBench, boots: int, reporter: Reporter) -> BootComparison:
    """Start everything in turns, so that what else happens on the machine meets all alike."""
    key = ssh.load_key(bench.identity.read_text(encoding="utf-8"))
    disk = seed.make_seed(bench.folder, seed_user_data(key.public), seed.meta_data(instance="i-bench"))
    with reporter.step("An overlay of our image with an init that only reports"):
        floor = floor_disk(bench)
    workspace = bench.folder / "workspace"
    workspace.mkdir(exist_ok=True)
    for path in (bench.base, bench.image):
        sha256_file(path)  # into the page cache
    little, much = CONSUMER_MEMORY_MIB
    base_command: list[float] = []

    async def base(logs: Path) -> float:
        login, command = await start_to_both(bench, boot_spec(bench.base, disk), key, logs)
        base_command.append(round(command, 2))
        return login

    starts: dict[str, Callable[[Path], Coroutine[Any, Any, float]]] = {
        "base": base,
        "ours": lambda logs: start_to_login(bench, boot_spec(bench.image, None), key, logs),
        "floor": lambda logs: start_to_report(bench, boot_spec(floor, None), logs),
        "little": lambda logs: start_to_command(bench, consumer_spec(bench.image, workspace, little), key, logs),
        "much": lambda logs: start_to_command(bench, consumer_spec(bench.image, workspace, much), key, logs),
    }
    seconds: dict[str, list[float]] = {name: [] for name in starts}
    for number in range(1, boots + 1):
        for name, start in starts.items():
            logs = bench.folder / f"boot-{name}-{number}"
            logs.mkdir(exist_ok=True)
            with reporter.step(f"Boot {number} of {boots}: {name}"):
                seconds[name].append(round(loop.run(start(logs)), 2))
    with reporter.step(f"The base with {QEMU_MEMORY_MIB} MiB"):
        base_little = outcome_of_login(bench, boot_spec(bench.base, disk, QEMU_MEMORY_MIB), key)
    return BootComparison(
        **seconds, base_command=base_command, base_little=base_little, memory_mib=MEMORY_MIB, cpus=CPUS
    )


def floor_disk(bench: BootBench) -> Path:
    """The image with another /sbin/init, as an overlay: the image itself is not touched."""
    overlay = bench.folder / "floor.qcow2"
    overlay.unlink(missing_ok=True)
    qcow2.create_overlay(bench.image, overlay, qcow2.info(bench.image).virtual_size)
    environment = bench.acceleration.guestfs_environment()
    with guestfish.session(overlay, "qcow2", environment=environment, temporary=bench.folder) as guest:
        guest.start()
        guest.command("mount", "/dev/sda1", "/")
        guest.command("rm-f", "/sbin/init")
        guest.write("/sbin/init", REPORTING_INIT)
        guest.command("chmod", "0755", "/sbin/init")
        guest.command("sync")
    return overlay


def boot_spec(image: Path, seed_disk: Path | None, memory_mib: int = MEMORY_MIB) -> MachineSpec:
    """The machine both are started in; the host's port is new each time."""
    return MachineSpec(
        image=image,
        memory_mib=memory_mib,
        cpus=CPUS,
        seed=seed_disk,
        forwards=(Forward(host_port=machine.free_port()),),
        instruments=False,
    )


def consumer_spec(image: Path, workspace: Path, memory_mib: int | None) -> ConsumerSpec:
    """Toolsmith's machine, with its memory or more."""
    return ConsumerSpec(image=image, workspace=workspace, host_port=machine.free_port(), memory_mib=memory_mib)


async def start_to_login(bench: BootBench, spec: MachineSpec, key: ssh.Key, logs: Path) -> float:
    """Seconds from QEMU's start to the first login."""
    return (await start_to_both(bench, spec, key, logs))[0]


async def start_to_both(bench: BootBench, spec: MachineSpec, key: ssh.Key, logs: Path) -> tuple[float, float]:
    """Seconds from QEMU's start to the first login, and to the end of the first command."""
    limit = bench.acceleration.scaled(BOOT_SECONDS)
    async with machine.start(spec, bench.acceleration, logs) as running:
        port = spec.forwards[0].host_port
        async with await running.until(ssh.connect(port, USER, key), limit, f"a login as {USER}") as session:
            login = running.elapsed()
            await session.run("true", bench.acceleration.scaled(COMMAND_SECONDS))
            return login, running.elapsed()


def outcome_of_login(bench: BootBench, spec: MachineSpec, key: ssh.Key) -> str:
    """What a start comes to that may fail: its seconds to the first login, or why there was none."""
    logs = bench.folder / "boot-base-little"
    logs.mkdir(exist_ok=True)
    try:
        return f"a login after {loop.run(start_to_login(bench, spec, key, logs)):.1f} s"
    except BootError as error:
        return error.message


async def start_to_command(bench: BootBench, spec: ConsumerSpec, key: ssh.Key, logs: Path) -> float:
    """Seconds from QEMU's start to the end of the first command."""
    limit = bench.acceleration.scaled(BOOT_SECONDS)
    async with machine.start(spec, bench.acceleration, logs) as running:
        session = await running.until(ssh.connect(spec.host_port, USER, key), limit, f"a login as {USER}")
        async with session:
            await session.run("true", bench.acceleration.scaled(COMMAND_SECONDS))
            return running.elapsed()


async def start_to_report(bench: BootBench, spec: MachineSpec, logs: Path) -> float:
    """Seconds from QEMU's start to the report on its console."""
    limit = bench.acceleration.scaled(BOOT_SECONDS)
    async with machine.start(spec, bench.acceleration, logs) as running:
        seen = running.console.wait_for(re.compile(re.escape(REPORT)))
        return (await running.until(seen, limit, "the report of the init")).seconds


def seed_user_data(public_key: str) -> str:
    """What makes a bare cloud image usable: a login user with a key."""
    user = {
        "name": USER,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": [public_key],
    }
    return f"#cloud-config\n{json.dumps({'users': [user]}, indent=2)}\n"  # JSON is YAML
