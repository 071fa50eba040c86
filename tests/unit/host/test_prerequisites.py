import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci.host import accelerator, prerequisites, this_machine
from ci.host.accelerator import kernel
from ci.host.accelerator.kvm_device import NO_GUESTS, KvmFault
from ci.host.errors import HostError
from ci.host.prerequisites import (
    GIB,
    TOOLS,
    Finding,
    Status,
    check_accelerator,
    parse_version,
    quick_check,
    quick_findings,
)
from ci.host.repository import ROOT

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


OUTPUT, CACHE = Path("/srv/dist"), Path("/home/cache")


@dataclass(kw_only=True)
class FakeMachine:
    """A machine in good order; each test breaks one thing."""

    versions: dict[str, str] = field(default_factory=lambda: dict(VERSIONS))
    boot: Sequence[str] = ("vmlinuz-6.8.0-45-generic",)
    without_modules: set[str] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)
    fault: KvmFault | None = None
    free: dict[str, int] = field(default_factory=dict)
    systems: dict[str, int] = field(default_factory=dict)
    memory: int = 8 * GIB

    def tool_version(self, name: str, argument: str) -> str | None:
        assert argument or name in {"cloud-localds", "resize2fs"}
        return self.versions.get(name)

    def modules_of(self, kernel_image: Path) -> Path:
        return Path("/absent" if kernel_image.name in self.without_modules else "/")

    def find_kvm_fault(self, *, anew: bool) -> KvmFault | None:
        assert anew
        return self.fault


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> FakeMachine:
    fake = FakeMachine()
    for name in ("SUPERMIN_KERNEL", "SUPERMIN_MODULES", "TOOLSMITH_ACCELERATOR", "LIBGUESTFS_CACHEDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(prerequisites, "find_tool", fake.versions.get)
    monkeypatch.setattr(accelerator, "find_kvm_fault", fake.find_kvm_fault)
    monkeypatch.setattr(kernel, "kernels", lambda: [Path("/boot", name) for name in fake.boot])
    monkeypatch.setattr(kernel, "modules_of", fake.modules_of)
    monkeypatch.setattr(kernel, "can_read", lambda path: path.name not in fake.unreadable)
    monkeypatch.setattr(this_machine, "tool_version", fake.tool_version)
    monkeypatch.setattr(this_machine, "file_system", lambda folder: fake.systems.get(folder.name, 1))
    monkeypatch.setattr(this_machine, "free_bytes", lambda folder: fake.free.get(folder.name, 100 * GIB))
    monkeypatch.setattr(this_machine, "available_memory", lambda: fake.memory)
    return fake


def findings() -> list[Finding]:
    return [*quick_findings(OUTPUT, CACHE), check_accelerator()]


def problems() -> dict[str, Finding]:
    return {finding.name: finding for finding in findings() if finding.status is not Status.OK}


@pytest.mark.usefixtures("machine")
def test_a_machine_in_good_order_has_no_problem_and_nothing_to_fix() -> None:
    assert problems() == {}
    assert not [finding.fix for finding in findings() if finding.fix]


@pytest.mark.parametrize("tool", [tool.name for tool in TOOLS])
def test_each_missing_tool_is_told_with_its_package(machine: FakeMachine, tool: str) -> None:
    del machine.versions[tool]
    finding = problems()[tool]
    assert finding.found == "not installed"
    assert next(known.package for known in TOOLS if known.name == tool) in finding.fix


def test_a_tool_for_some_images_only_stops_the_builds_that_need_it(machine: FakeMachine) -> None:
    del machine.versions["mmdebstrap"]
    assert problems()["mmdebstrap"].status is Status.WARNING
    needed = {finding.name: finding.status for finding in quick_findings(OUTPUT, CACHE, bootstrap=True)}
    assert needed["mmdebstrap"] is Status.MISSING


def test_a_qemu_too_old_is_told_with_the_least_version(machine: FakeMachine) -> None:
    machine.versions["qemu-system-x86_64"] = "QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6)"
    finding = problems()["qemu-system-x86_64"]
    assert finding.found == "6.2.0, too old"
    assert "7.1" in finding.fix


@pytest.mark.parametrize(
    ("text", "version"),
    [("guestfish 1.48.6", (1, 48, 6)), ("QEMU emulator version 10.0.2 (x)", (10, 0, 2)), ("no number", ()), ("", ())],
)
def test_versions_are_read_from_what_programs_print(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def test_no_kernel_is_told(machine: FakeMachine) -> None:
    machine.boot = ()
    finding = problems()["kernel for the appliance"]
    assert finding.found == "no /boot/vmlinuz-*"
    assert "linux-image" in finding.fix


def test_a_kernel_that_only_root_can_read_is_told_with_the_command(machine: FakeMachine) -> None:
    machine.unreadable = {"vmlinuz-6.8.0-45-generic"}
    finding = problems()["kernel for the appliance"]
    assert finding.status is Status.MISSING
    assert "sudo chmod 0644 /boot/vmlinuz-6.8.0-45-generic" in finding.fix


def test_the_kernel_that_counts_is_the_newest_one_with_modules(machine: FakeMachine) -> None:
    boot = ("vmlinuz-6.8.0-9-generic", "vmlinuz-6.8.0-45-generic", "vmlinuz-6.11.0-1-generic")
    machine.boot, machine.without_modules, machine.unreadable = boot, {boot[2]}, {boot[0], boot[2]}
    assert problems() == {}
    machine.unreadable = {boot[1]}
    assert boot[1] in problems()["kernel for the appliance"].found
    machine.without_modules = set(boot)
    assert "has no modules" in problems()["kernel for the appliance"].found


def test_a_kernel_chosen_by_variable_must_be_readable(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERMIN_KERNEL", "/srv/vmlinuz")
    machine.boot = ()
    assert problems() == {}
    machine.unreadable = {"vmlinuz"}
    finding = problems()["kernel for the appliance"]
    assert "/srv/vmlinuz (SUPERMIN_KERNEL) cannot be read" in finding.found


def test_without_kvm_it_is_slower_and_the_reason_is_told(machine: FakeMachine) -> None:
    machine.fault = KvmFault(what="a guest aborted", fix=NO_GUESTS)
    finding = problems()["accelerator"]
    assert finding.status is Status.WARNING
    assert finding.found == "tcg: a guest aborted"
    machine.fault = KvmFault(what="may not open", fix="add a udev rule")
    assert problems()["accelerator"].fix == "add a udev rule"


def test_kvm_demanded_by_the_variable_and_broken_is_an_obstacle(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.fault = KvmFault(what="a guest aborted", fix=NO_GUESTS)
    monkeypatch.setenv("TOOLSMITH_ACCELERATOR", "kvm")
    assert check_accelerator().status is Status.MISSING
    monkeypatch.setenv("TOOLSMITH_ACCELERATOR", "tcg")
    assert check_accelerator().status is Status.OK
    monkeypatch.setenv("TOOLSMITH_ACCELERATOR", "hvf")
    assert check_accelerator().status is Status.MISSING


def test_space_is_added_up_where_folders_share_a_file_system(machine: FakeMachine) -> None:
    machine.systems = {"tmp": 3}
    machine.free = {"dist": 7 * GIB, "cache": 7 * GIB}
    finding = problems()["disk space for the build and the cache"]
    assert finding.found == "7.0 GiB free, 8.0 GiB needed"
    machine.systems = {"dist": 1, "cache": 2, "tmp": 3}
    assert problems() == {}


def test_little_memory_is_a_warning(machine: FakeMachine) -> None:
    machine.memory = GIB
    assert problems()["memory"].status is Status.WARNING


def test_a_build_is_stopped_with_everything_that_is_missing_at_once(machine: FakeMachine) -> None:
    machine.boot = ()
    del machine.versions["guestfish"]
    with pytest.raises(HostError) as caught:
        quick_check(output=OUTPUT, cache=CACHE)
    for name in ("guestfish", "kernel for the appliance"):
        assert name in caught.value.message
        assert name in caught.value.hint


def test_warnings_do_not_stop_a_build_but_a_bootstrap_needs_its_tool(machine: FakeMachine) -> None:
    machine.memory = GIB
    del machine.versions["mmdebstrap"]
    quick_check(output=OUTPUT, cache=CACHE)
    with pytest.raises(HostError, match="mmdebstrap"):
        quick_check(output=OUTPUT, cache=CACHE, bootstrap=True)


def test_the_package_of_each_tool_is_one_that_the_set_up_installs() -> None:
    text = (ROOT / "scripts/setup.sh").read_text()
    installed = set(re.findall(r"^    ([a-z0-9+.-]+):[a-z0-9_-]*$", text, re.MULTILINE))
    assert {tool.package for tool in TOOLS} <= installed
