"""What this machine must have before an image can be built or booted, and the exact fix for what it lacks.

`quick_findings` takes well under a second and starts no appliance; builds begin with it, so that nothing fails late for
a reason known early. ci/host/appliance/check.py goes on from there.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ci.host import qemu
from ci.host.accelerator import CHOICE_VARIABLE, Accelerator, decide, effective_choice
from ci.host.accelerator.kernel import KERNEL_VARIABLE, newest_kernel
from ci.host.accelerator.kvm_device import NO_GUESTS
from ci.host.errors import HostError, InputError
from ci.host.this_machine import ThisMachine

GIB = 1 << 30
OUTPUT_BYTES = 6 * GIB  # the disk being built (sparse, about 3 GiB) beside its finished copy
CACHE_BYTES = 2 * GIB  # a base image and its parts
APPLIANCE_BYTES = GIB // 2  # libguestfs keeps its appliance in /var/tmp
MEMORY_BYTES = 2 * GIB  # the appliance, or a guest of the boot test

SETUP = "make setup"


class Status(StrEnum):
    """Whether a prerequisite is met; a warning does not stop a build."""

    OK = "ok"
    WARNING = "warning"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One prerequisite: what was found, and where it is not met, what to do."""

    name: str
    found: str
    status: Status = Status.OK
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program; where `only_for` is set, what goes without it stays possible. `version_of` are its arguments."""

    name: str
    package: str
    minimum: tuple[int, ...] = ()
    version_of: str = "--version"
    only_for: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceNeed:
    """Disk space, in bytes, that a run needs in a folder."""

    purpose: str
    folder: Path
    needed: int


QEMU = Tool(name=qemu.QEMU, package="qemu-system-x86", minimum=(7, 1))
MMDEBSTRAP = Tool(name="mmdebstrap", package="mmdebstrap", only_for="bases bootstrapped from a package archive")
TOOLS = (
    QEMU,
    Tool(name="qemu-img", package="qemu-utils", minimum=(7, 1)),
    Tool(name="guestfish", package="guestfish", minimum=(1, 48)),
    MMDEBSTRAP,
    Tool(name="gpgv", package="gpgv", only_for="bases with signed checksums"),
    Tool(name="sfdisk", package="fdisk"),
    Tool(name="debugfs", package="e2fsprogs", version_of="-V"),
    Tool(name="e2fsck", package="e2fsprogs", version_of="-V"),
    Tool(name="mke2fs", package="e2fsprogs", version_of="-V"),
    Tool(name="resize2fs", package="e2fsprogs", version_of=""),
    Tool(name="apt-get", package="apt"),
    Tool(name="blkid", package="util-linux"),
    Tool(name="prlimit", package="util-linux"),
    Tool(name="setpriv", package="util-linux"),
    Tool(name="cloud-localds", package="cloud-image-utils", version_of="", only_for="the boot test"),
)


def space_needs(output: Path, cache: Path) -> tuple[SpaceNeed, ...]:
    """What a build needs: in its output's folder, in the cache, and where libguestfs keeps its appliance."""
    appliance = Path(os.environ.get("LIBGUESTFS_CACHEDIR") or os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - libguestfs's own default
    return (
        SpaceNeed(purpose="the build", folder=output, needed=OUTPUT_BYTES),
        SpaceNeed(purpose="the cache", folder=cache, needed=CACHE_BYTES),
        SpaceNeed(purpose="libguestfs's appliance", folder=appliance, needed=APPLIANCE_BYTES),
    )


def quick_check(*, output: Path, cache: Path, bootstrap: bool = False, machine: ThisMachine | None = None) -> None:
    """Raise HostError with everything this machine lacks for a build; `bootstrap`: one that makes its own base."""
    required = {MMDEBSTRAP.name} if bootstrap else set[str]()
    findings = quick_findings(machine or ThisMachine(), space_needs(output, cache), required=required)
    raise_for(findings)


def raise_for(findings: Iterable[Finding]) -> None:
    """Raise HostError with what is missing, if anything is."""
    missing = [finding for finding in findings if finding.status is Status.MISSING]
    if missing:
        raise HostError(
            "this machine lacks " + "; ".join(f"{finding.name} ({finding.found})" for finding in missing),
            hint=" ".join(dict.fromkeys(f"{finding.name}: {finding.fix}" for finding in missing)),
        )


def quick_findings(
    machine: ThisMachine, needs: Sequence[SpaceNeed], *, required: Iterable[str] = (), with_accelerator: bool = False
) -> list[Finding]:
    """All that can be told without starting the appliance. `required` names tools that are otherwise optional."""
    required = set(required)
    findings = [
        check_tool(tool, machine.tool_version(tool.name, tool.version_of), required=tool.name in required)
        for tool in TOOLS
    ]
    findings.append(check_kernel(machine))
    if with_accelerator:
        findings.append(check_accelerator(machine))
    findings.extend(check_space(machine, needs))
    findings.append(check_memory(machine))
    return findings


def parse_version(text: str) -> tuple[int, ...]:
    """The first dotted number in what a program prints; () where there is none."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def check_tool(tool: Tool, version: str | None, *, required: bool) -> Finding:
    """`version` is what the program prints, None where it is not installed."""
    absent = Status.WARNING if tool.only_for and not required else Status.MISSING
    fix = f"{SETUP} (Debian, Ubuntu: apt-get install {tool.package})"
    if tool.only_for:
        fix += f"; only for {tool.only_for}"
    if version is None:
        return Finding(name=tool.name, found="not installed", status=absent, fix=fix)
    number = parse_version(version)
    found = ".".join(map(str, number)) or "installed"
    if tool.minimum and number and number < tool.minimum:
        least = ".".join(map(str, tool.minimum))
        fix = f"install {least} or later: Debian 12 and Ubuntu 24.04 have it"
        return Finding(name=tool.name, found=f"{found}, too old", status=Status.MISSING, fix=fix)
    return Finding(name=tool.name, found=found)


def check_kernel(machine: ThisMachine) -> Finding:
    """The kernel that supermin puts into libguestfs's appliance: its choice, or SUPERMIN_KERNEL."""
    name = "kernel for the appliance"
    chosen = machine.environment.get(KERNEL_VARIABLE)
    if chosen:
        fix = f"unset {KERNEL_VARIABLE}, or set it to a kernel that this user can read"
        if not machine.can_read(Path(chosen)):
            return Finding(
                name=name, found=f"{chosen} ({KERNEL_VARIABLE}) cannot be read", status=Status.MISSING, fix=fix
            )
        return Finding(name=name, found=f"{chosen} ({KERNEL_VARIABLE})")
    install = f"{SETUP} (Debian: apt-get install linux-image-amd64; Ubuntu: linux-image-virtual)"
    kernels = machine.kernels()
    if not kernels:
        return Finding(name=name, found="no /boot/vmlinuz-*", status=Status.MISSING, fix=install)
    usable = [kernel for kernel in kernels if machine.has_modules(kernel)]
    if not usable:
        found = f"{newest_kernel(kernels)} has no modules in /lib/modules"
        return Finding(name=name, found=found, status=Status.MISSING, fix=install)
    kernel = newest_kernel(usable)
    if not machine.can_read(kernel):
        # Ubuntu: https://bugs.launchpad.net/bugs/759725
        return Finding(
            name=name,
            found=f"{kernel} cannot be read by this user",
            status=Status.MISSING,
            fix=f"sudo chmod 0644 {kernel} (make setup does it), or build as root",
        )
    return Finding(name=name, found=os.fspath(kernel))


def check_accelerator(machine: ThisMachine) -> Finding:
    """KVM where a guest really runs with it; the reason where none does."""
    name = "accelerator"
    if not machine.find_tool(QEMU.name):
        return Finding(name=name, found="not known without QEMU", status=Status.WARNING, fix=SETUP)
    try:
        choice = effective_choice("auto", machine.environment.get(CHOICE_VARIABLE, ""))
        fault = None if choice == "tcg" else machine.kvm_fault()
        acceleration = decide(choice, fault)
    except (HostError, InputError) as error:
        return Finding(name=name, found=error.message, status=Status.MISSING, fix=error.hint)
    found = f"{acceleration.accelerator}: {acceleration.reason}"
    if fault and acceleration.accelerator is Accelerator.TCG:
        fix = f"slower, but it works; {CHOICE_VARIABLE}=tcg spares the trial" if fault.fix == NO_GUESTS else fault.fix
        return Finding(name=name, found=found, status=Status.WARNING, fix=fix)
    return Finding(name=name, found=found)


def check_space(machine: ThisMachine, needs: Iterable[SpaceNeed]) -> Iterator[Finding]:
    """What is needed on each file system, against what is free there."""
    systems: dict[int, list[SpaceNeed]] = {}
    for need in needs:
        systems.setdefault(machine.file_system(need.folder), []).append(need)
    for together in systems.values():
        needed = sum(need.needed for need in together)
        free = machine.free_bytes(together[0].folder)
        purposes = " and ".join(need.purpose for need in together)
        enough = free >= needed
        yield Finding(
            name=f"disk space for {purposes}",
            found=f"{gib(free)} free, {gib(needed)} needed",
            status=Status.OK if enough else Status.MISSING,
            fix=""
            if enough
            else f"free some space in {together[0].folder}, or choose other folders: "
            "--output, TOOLSMITH_CACHE, LIBGUESTFS_CACHEDIR",
        )


def check_memory(machine: ThisMachine) -> Finding:
    """Too little is only a warning: swap may do."""
    available = machine.available_memory()
    enough = available >= MEMORY_BYTES
    return Finding(
        name="memory",
        found=f"{gib(available)} available, {gib(MEMORY_BYTES)} wanted",
        status=Status.OK if enough else Status.WARNING,
        fix="" if enough else "close other programs, or add swap",
    )


def gib(count: float) -> str:
    """Bytes for people."""
    return f"{count / GIB:.1f} GiB"
