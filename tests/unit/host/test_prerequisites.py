import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci.host.accelerator.kvm_device import NO_GUESTS, KvmFault
from ci.host.errors import HostError
from ci.host.prerequisites import (
    GIB,
    TOOLS,
    Finding,
    SpaceNeed,
    Status,
    check_accelerator,
    parse_version,
    quick_check,
    quick_findings,
)
from ci.host.repository import ROOT
from ci.host.this_machine import ThisMachine

VERSIONS = {
    "qemu-system-x86_64": "QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)",
    "qemu-img": "qemu-img version 8.2.2\nCopyright (c) 2003-2023",
    "guestfish": "guestfish 1.52.0",
    "mmdebstrap": "mmdebstrap 1.4.3",
    "gpgv": "gpgv (GnuPG) 2.4.4\nlibgcrypt 1.10.3",
    "sfdisk": "sfdisk from util-linux 2.39.3",
    "debugfs": "debugfs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0",
    "e2fsck": "e2fsck 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0",
    "mke2fs": "mke2fs 1.47.0 (5-Feb-2023)\n\tUsing EXT2FS Library version 1.47.0",
    "resize2fs": "",
    "apt-get": "apt 2.7.14 (amd64)",
    "blkid": "blkid from util-linux 2.39.3  (libblkid 2.39.3, 04-Dec-2023)",
    "prlimit": "prlimit from util-linux 2.39.3",
    "setpriv": "setpriv from util-linux 2.39.3",
    "cloud-localds": "",
}


@dataclass(kw_only=True)
class FakeMachine(ThisMachine):
    """A machine in good order; each test breaks one thing."""

    environment: Mapping[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=lambda: dict(VERSIONS))
    boot: Sequence[str] = ("vmlinuz-6.8.0-45-generic",)
    modules: set[str] | None = None
    unreadable: set[str] = field(default_factory=set)
    fault: KvmFault | None = None
    free: dict[str, int] = field(default_factory=dict)
    systems: dict[str, int] = field(default_factory=dict)
    memory: int = 8 * GIB

    def find_tool(self, name: str) -> str | None:
        return f"/usr/bin/{name}" if name in self.versions else None

    def tool_version(self, name: str, argument: str) -> str | None:
        assert argument or name in {"cloud-localds", "resize2fs"}
        return self.versions.get(name)

    def kernels(self) -> Sequence[Path]:
        return [Path("/boot", name) for name in self.boot]

    def has_modules(self, kernel_image: Path) -> bool:
        return self.modules is None or kernel_image.name in self.modules

    def can_read(self, path: Path) -> bool:
        return path.name not in self.unreadable

    def kvm_fault(self) -> KvmFault | None:
        return self.fault

    def file_system(self, folder: Path) -> int:
        return self.systems.get(folder.name, 1)

    def free_bytes(self, folder: Path) -> int:
        return self.free.get(folder.name, 100 * GIB)

    def available_memory(self) -> int:
        return self.memory


NEEDS = (
    SpaceNeed(purpose="the build", folder=Path("/srv/dist"), needed=6 * GIB),
    SpaceNeed(purpose="the cache", folder=Path("/home/cache"), needed=2 * GIB),
)


def findings(machine: FakeMachine, *required: str) -> list[Finding]:
    return quick_findings(machine, NEEDS, required=required, with_accelerator=True)


def problems(machine: FakeMachine, *required: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings(machine, *required) if finding.status is not Status.OK}


def test_a_machine_in_good_order_has_no_problem_and_nothing_to_fix() -> None:
    assert problems(FakeMachine()) == {}
    assert not [finding.fix for finding in findings(FakeMachine()) if finding.fix]


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
def test_each_missing_tool_is_told_with_its_package(tool: str) -> None:
    machine = FakeMachine()
    del machine.versions[tool]
    finding = problems(machine)[tool]
    assert finding.found == "not installed"
    assert next(known.package for known in TOOLS if known.name == tool) in finding.fix


def test_a_tool_for_some_images_only_stops_the_builds_that_need_it() -> None:
    machine = FakeMachine()
    del machine.versions["mmdebstrap"]
    assert problems(machine)["mmdebstrap"].status is Status.WARNING
    assert problems(machine, "mmdebstrap")["mmdebstrap"].status is Status.MISSING


def test_a_qemu_too_old_is_told_with_the_least_version() -> None:
    machine = FakeMachine()
    machine.versions["qemu-system-x86_64"] = "QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)"
    finding = problems(machine)["qemu-system-x86_64"]
    assert finding.found == "6.2.0, too old"
    assert "7.1" in finding.fix


@pytest.mark.parametrize(
    ("text", "version"),
    [("guestfish 1.48.6", (1, 48, 6)), ("QEMU emulator version 10.0.2 (x)", (10, 0, 2)), ("no number", ()), ("", ())],
)
def test_versions_are_read_from_what_programs_print(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_no_kernel_is_told() -> None:
    finding = problems(FakeMachine(boot=()))["kernel for the appliance"]
    assert finding.found == "no /boot/vmlinuz-*"
    assert "linux-image" in finding.fix


def test_a_kernel_that_only_root_can_read_is_told_with_the_command() -> None:
    machine = FakeMachine(unreadable={"vmlinuz-6.8.0-45-generic"})
    finding = problems(machine)["kernel for the appliance"]
    assert finding.status is Status.MISSING
    assert "sudo chmod 0644 /boot/vmlinuz-6.8.0-45-generic" in finding.fix


def test_the_kernel_that_counts_is_the_newest_one_with_modules() -> None:
    boot = ("vmlinuz-6.8.0-9-generic", "vmlinuz-6.8.0-45-generic", "vmlinuz-6.11.0-1-generic")
    machine = FakeMachine(boot=boot, modules=set(boot[:2]), unreadable={boot[0], boot[2]})
    assert problems(machine) == {}
    machine.unreadable = {boot[1]}
    assert boot[1] in problems(machine)["kernel for the appliance"].found
    machine.modules = set()
    assert "has no modules" in problems(machine)["kernel for the appliance"].found


def test_a_kernel_chosen_by_variable_must_be_readable() -> None:
    machine = FakeMachine(environment={"SUPERMIN_KERNEL": "/srv/vmlinuz"}, boot=())
    assert problems(machine) == {}
    machine.unreadable = {"vmlinuz"}
    finding = problems(machine)["kernel for the appliance"]
    assert "/srv/vmlinuz (SUPERMIN_KERNEL) cannot be read" in finding.found


def test_without_kvm_it_is_slower_and_the_reason_is_told() -> None:
    machine = FakeMachine(fault=KvmFault(what="a guest aborted", fix=NO_GUESTS))
    finding = problems(machine)["accelerator"]
    assert finding.status is Status.WARNING
    assert finding.found == "tcg: a guest aborted"
    machine.fault = KvmFault(what="may not open", fix="add a udev rule")
    assert problems(machine)["accelerator"].fix == "add a udev rule"


def test_kvm_demanded_by_the_variable_and_broken_is_an_obstacle() -> None:
    fault = KvmFault(what="a guest aborted", fix=NO_GUESTS)
    machine = FakeMachine(fault=fault, environment={"TOOLSMITH_ACCELERATOR": "kvm"})
    assert check_accelerator(machine).status is Status.MISSING
    machine.environment = {"TOOLSMITH_ACCELERATOR": "tcg"}
    assert check_accelerator(machine).status is Status.OK
    machine.environment = {"TOOLSMITH_ACCELERATOR": "hvf"}
    assert check_accelerator(machine).status is Status.MISSING


def test_space_is_added_up_where_folders_share_a_file_system() -> None:
    machine = FakeMachine(free={"dist": 7 * GIB, "cache": 7 * GIB})
    finding = problems(machine)["disk space for the build and the cache"]
    assert finding.found == "7.0 GiB free, 8.0 GiB needed"
    machine.systems = {"dist": 1, "cache": 2}
    assert problems(machine) == {}


def test_little_memory_is_a_warning() -> None:
    assert problems(FakeMachine(memory=GIB))["memory"].status is Status.WARNING


def test_a_build_is_stopped_with_everything_that_is_missing_at_once() -> None:
    machine = FakeMachine(boot=())
    del machine.versions["guestfish"]
    with pytest.raises(HostError) as caught:
        quick_check(output=Path("/srv/dist"), cache=Path("/home/cache"), machine=machine)
    for name in ("guestfish", "kernel for the appliance"):
        assert name in caught.value.message
        assert name in caught.value.hint


def test_warnings_do_not_stop_a_build_but_a_bootstrap_needs_its_tool() -> None:
    machine = FakeMachine(memory=GIB)
    del machine.versions["mmdebstrap"]
    quick_check(output=Path("/srv/dist"), cache=Path("/home/cache"), machine=machine)
    with pytest.raises(HostError, match="mmdebstrap"):
        quick_check(output=Path("/srv/dist"), cache=Path("/home/cache"), bootstrap=True, machine=machine)


def test_the_package_of_each_tool_is_one_that_the_set_up_installs() -> None:
    text = (ROOT / "scripts/setup.sh").read_text()
    installed = set(re.findall(r"^    ([a-z0-9+.-]+):[a-z0-9_-]*$", text, re.MULTILINE))
    assert {tool.package for tool in TOOLS} <= installed
