"""What this machine must have before an image can be built or booted, and the exact fix for what it lacks.

`quick_findings` takes well under a second and starts no appliance; builds begin with it, so that nothing fails late for
a reason known early. ci/host/appliance/check.py goes on from there.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ci.host import this_machine
from ci.host.accelerator import CHOICE_VARIABLE, probe
from ci.host.accelerator.kernel import KERNEL_VARIABLE, choose_kernel
from ci.host.accelerator.kvm_device import NO_GUESTS
from ci.host.errors import HostError, InputError, make_setup
from ci.host.process import find_tool
from ci.host.qemu import QEMU

GIB = 1 << 30
OUTPUT_BYTES = 6 * GIB  # the disk being built (sparse, about 3 GiB) beside its finished copy
CACHE_BYTES = 2 * GIB  # a base image and its parts
APPLIANCE_BYTES = GIB // 2  # libguestfs keeps its appliance in /var/tmp
MEMORY_BYTES = 2 * GIB  # the appliance, or a guest of the boot test


class Status(StrEnum):
    """Whether a prerequisite is met; a warning does not stop a build, and what could not be looked at is no fault."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARNING = "warning"
    MISSING = "MISSING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One prerequisite: what was found, and where it is not met, what to do."""

    name: str
    found: str
    status: Status = Status.OK
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program of tools.toml; where `only_for` is set, what goes without it stays possible.

    `version_of` is what it prints its version for, `minimum` the oldest that will do.
    """

    name: str
    package: str
    minimum: str = ""
    version_of: str = "--version"
    only_for: str = ""


TOOLS = tuple(
    Tool(**entry) for entry in tomllib.loads(Path(__file__).with_name("tools.toml").read_text(encoding="utf-8"))["tool"]
)
MMDEBSTRAP = "mmdebstrap"


def quick_check(*, output: Path, cache: Path, bootstrap: bool = False) -> None:
    """Raise HostError with everything this machine lacks for a build; `bootstrap`: one that makes its own base."""
    raise_for(quick_findings(output, cache, bootstrap=bootstrap))


def raise_for(findings: Iterable[Finding]) -> None:
    """Raise HostError with what is missing, if anything is."""
    missing = [finding for finding in findings if finding.status is Status.MISSING]
    if missing:
        raise HostError(
            "this machine lacks " + "; ".join(f"{finding.name} ({finding.found})" for finding in missing),
            hint=" ".join(dict.fromkeys(f"{finding.name}: {finding.fix}" for finding in missing)),
        )


def quick_findings(output: Path, cache: Path, *, bootstrap: bool = False) -> list[Finding]:
    """All that can be told without starting a guest; the folders and `bootstrap` are as in `quick_check`."""
    tools = [
        check_tool(
            tool,
            this_machine.tool_version(tool.name, tool.version_of),
            optional=bool(tool.only_for) and not (bootstrap and tool.name == MMDEBSTRAP),
        )
        for tool in TOOLS
    ]
    return [*tools, check_kernel(), *check_space(output, cache), check_memory()]


def parse_version(text: str) -> tuple[int, ...]:
    """The first dotted number in what a program prints; () where there is none."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def check_tool(tool: Tool, version: str | None, *, optional: bool) -> Finding:
    """`version` is what the program prints, None where it is not installed."""
    if version is None:
        fix = f"{make_setup()} (Debian, Ubuntu: apt-get install {tool.package})"
        if tool.only_for:
            fix += f"; only for {tool.only_for}"
        status = Status.WARNING if optional else Status.MISSING
        return Finding(name=tool.name, found="not installed", status=status, fix=fix)
    number = parse_version(version)
    found = ".".join(map(str, number)) or "installed"
    if number and number < parse_version(tool.minimum):
        fix = f"install {tool.minimum} or later: Debian 12 and Ubuntu 24.04 have it"
        return Finding(name=tool.name, found=f"{found}, too old", status=Status.MISSING, fix=fix)
    return Finding(name=tool.name, found=found)


def check_kernel() -> Finding:
    """The kernel that supermin puts into libguestfs's appliance: its choice, or SUPERMIN_KERNEL."""
    name = "kernel for the appliance"
    try:
        image = choose_kernel().image
    except HostError as error:
        return Finding(name=name, found=error.message, status=Status.MISSING, fix=error.hint)
    chosen = f" ({KERNEL_VARIABLE})" if os.environ.get(KERNEL_VARIABLE) else ""
    return Finding(name=name, found=f"{image}{chosen}")


def check_accelerator() -> Finding:
    """KVM where a guest really runs with it, tried now; the reason where none does."""
    name = "accelerator"
    if not find_tool(QEMU):
        return Finding(name=name, found="not known without QEMU", status=Status.WARNING, fix=make_setup())
    try:
        acceleration = probe(anew=True)
    except (HostError, InputError) as error:
        return Finding(name=name, found=error.message, status=Status.MISSING, fix=error.hint)
    found = f"{acceleration.accelerator}: {acceleration.reason}"
    if fault := acceleration.fault:
        fix = f"slower, but it works; {CHOICE_VARIABLE}=tcg spares the trial" if fault.fix == NO_GUESTS else fault.fix
        return Finding(name=name, found=found, status=Status.WARNING, fix=fix)
    return Finding(name=name, found=found)


def check_space(output: Path, cache: Path) -> Iterator[Finding]:
    """What a build needs on each file system, against what is free there."""
    appliance = Path(os.environ.get("LIBGUESTFS_CACHEDIR") or os.environ.get("TMPDIR") or "/var/tmp")  # noqa: S108 - libguestfs's own default
    systems: dict[int, list[tuple[str, Path, int]]] = {}
    for purpose, folder, needed in (
        ("the build", output, OUTPUT_BYTES),
        ("the cache", cache, CACHE_BYTES),
        ("libguestfs's appliance", appliance, APPLIANCE_BYTES),
    ):
        systems.setdefault(this_machine.file_system(folder), []).append((purpose, folder, needed))
    for together in systems.values():
        purposes, folders, sizes = zip(*together, strict=True)
        free, needed = this_machine.free_bytes(folders[0]), sum(sizes)
        fix = (
            f"free some space in {folders[0]}, or choose other folders: --output, TOOLSMITH_CACHE, LIBGUESTFS_CACHEDIR"
        )
        yield Finding(
            name=f"disk space for {' and '.join(purposes)}",
            found=f"{gib(free)} free, {gib(needed)} needed",
            status=Status.OK if free >= needed else Status.MISSING,
            fix="" if free >= needed else fix,
        )


def check_memory() -> Finding:
    """Too little is only a warning: swap may do."""
    available = this_machine.available_memory()
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
