"""Guests of 512 bytes: each boot sector does one thing that can go wrong, and ends in a second."""

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from ci.boot.vm import machine as machine_module
from ci.boot.vm.machine import VirtualMachine, start
from ci.boot.vm.qemu import SSH_PORT, ConsumerSpec, MachineSpec
from ci.host import accelerator
from ci.host.accelerator import Acceleration, Accelerator
from ci.host.errors import AcceleratorError, BootError, HostError
from ci.host.process import held_port, run
from tests.support import broken_kvm
from tests.support.qemus import qemus_with

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TCG = Acceleration(accelerator=Accelerator.TCG, reason="enough for 512 bytes")
LIMIT = 60.0

HANG = bytes.fromhex("fa f4 eb fd")  # cli; hlt; jmp back
TALK = bytes.fromhex("b0 2e ee eb fb")  # next: mov al,'.'; out dx,al; jmp next
POWER_OFF = bytes.fromhex(
    "b8 00 20 ba 04 06 ef fa f4"
)  # mov ax,0x2000; mov dx,0x604 (ACPI's PM1a); out dx,ax; cli; hlt
TRIPLE_FAULT = bytes.fromhex("0f 01 1e 30 7c cc")  # lidt [0x7c30], where zeros are; int3
TEXT_OFFSET = 0x40


def boot_sector(text: bytes, ending: bytes) -> bytes:
    """Print `text` to the first serial port, then do `ending`.

    Without interrupts: SeaBIOS holds the last character of its own back until a timer's, which may come amid `text`.
    """
    printing = bytes.fromhex(
        "fa"  # cli
        "31 c0 8e d8 be 40 7c fc"  # ds = 0; si = 0x7c40; cld
        "ac 84 c0 74 06"  # next: lodsb; test al,al; jz end
        "ba f8 03 ee eb f5"  # mov dx,0x3f8; out dx,al; jmp next
    )
    code = (printing + ending).ljust(TEXT_OFFSET, b"\0")
    return (code + text).ljust(510, b"\0") + b"\x55\xaa"


MakeImage = Callable[[bytes], Path]


@pytest.fixture
def make_image(tmp_path: Path) -> MakeImage:
    def make(content: bytes) -> Path:
        raw, image = tmp_path / "disk.raw", tmp_path / "disk, with a comma.qcow2"
        raw.write_bytes(content.ljust(1 << 20, b"\0"))
        run(["qemu-img", "convert", "-O", "qcow2", raw, image], timeout=LIMIT)
        return image

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "evidence"
    path.mkdir()
    return path


def in_machine(
    spec: MachineSpec | ConsumerSpec,
    folder: Path,
    act: Callable[[VirtualMachine], Awaitable[None]],
    acceleration: Acceleration = TCG,
) -> None:
    async def main() -> None:
        async with start(spec, acceleration, folder) as machine:
            await act(machine)

    asyncio.run(main())


def small(image: Path, **more: object) -> MachineSpec:
    return MachineSpec(image=image, memory_mib=16, **more)  # type: ignore[arg-type]


async def never(machine: VirtualMachine) -> None:
    await machine.login_prompt(LIMIT)


@pytest.mark.parametrize("instruments", [True, False])
def test_a_kernel_panic_ends_the_wait_at_once(make_image: MakeImage, folder: Path, *, instruments: bool) -> None:
    image = make_image(boot_sector(b"\r\nall is well\r\nKernel panic - not syncing: test\r\n", HANG))
    with pytest.raises(BootError, match="the kernel panicked") as caught:
        in_machine(small(image, instruments=instruments), folder, never)
    assert caught.value.details.splitlines()[-2:] == ["all is well", "Kernel panic - not syncing: test"]
    assert b"Kernel panic" in (folder / "console.log").read_bytes()


def test_a_panic_without_a_line_end_is_seen_too(make_image: MakeImage, folder: Path) -> None:
    image = make_image(boot_sector(b"Kernel panic - not syncing: te", HANG))
    with pytest.raises(BootError, match="the kernel panicked"):
        in_machine(small(image), folder, never)


def test_a_guest_that_hangs_is_given_up_with_its_last_words(make_image: MakeImage, folder: Path) -> None:
    async def wait(machine: VirtualMachine) -> None:
        await machine.until(machine.console.wait_for(re.compile("thinking")), LIMIT, "a thought")
        await machine.login_prompt(0.2)

    image = make_image(boot_sector(b"I am thinking", HANG))
    with pytest.raises(BootError, match="the login prompt: not within") as caught:
        in_machine(small(image), folder, wait)
    assert "I am thinking" in caught.value.details


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Acceleration:
    """KVM, by name: TCG runs what it is asked to run. A guest may be silent for a second."""
    monkeypatch.setenv("PATH", broken_kvm.put_in_path(tmp_path / "qemu", broken_kvm.Fault.SLOW))
    monkeypatch.setattr(accelerator, "SILENCE_SECONDS", 1.0)
    return Acceleration(accelerator=Accelerator.KVM, reason="a test")


def test_a_guest_that_falls_silent_before_its_login_prompt_is_given_up_early_and_kvm_named(
    make_image: MakeImage, folder: Path, kvm: Acceleration
) -> None:
    image = make_image(boot_sector(b"I am thinking", HANG))
    with pytest.raises(AcceleratorError, match=r"the login prompt: no sign of life for \d+ s, with KVM") as caught:
        in_machine(small(image), folder, never, kvm)
    assert "I am thinking" in caught.value.details


def test_a_guest_that_writes_has_the_whole_time(make_image: MakeImage, folder: Path, kvm: Acceleration) -> None:
    async def wait(machine: VirtualMachine) -> None:
        await machine.login_prompt(3.0)

    image = make_image(boot_sector(b"", bytes.fromhex("ba f8 03") + TALK))
    with pytest.raises(BootError, match="the login prompt: not within 3 s"):
        in_machine(small(image), folder, wait, kvm)


def test_a_guest_may_be_silent_once_it_is_up_unless_it_has_something_to_answer(
    make_image: MakeImage, folder: Path, kvm: Acceleration
) -> None:
    async def wait(machine: VirtualMachine, *, answers: bool) -> None:
        await machine.login_prompt(LIMIT)
        await machine.until(asyncio.sleep(1.5), LIMIT, "an answer", answers=answers)

    image = make_image(boot_sector(b"\r\ntoolsmith login: ", HANG))
    in_machine(small(image), folder, partial(wait, answers=False), kvm)
    with pytest.raises(AcceleratorError, match="an answer: no sign of life"):
        in_machine(small(image), folder, partial(wait, answers=True), kvm)


def test_a_guest_that_is_up_may_not_be_silent_for_ever(
    make_image: MakeImage, folder: Path, kvm: Acceleration, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(machine: VirtualMachine) -> None:
        await machine.login_prompt(LIMIT)
        await machine.until(asyncio.Event().wait(), LIMIT, "a login")

    monkeypatch.setattr(machine_module, "LONGEST_SILENCE_SECONDS", 1.5)
    with pytest.raises(AcceleratorError, match="a login: no sign of life"):
        in_machine(small(make_image(boot_sector(b"\r\ntoolsmith login: ", HANG))), folder, wait, kvm)


def test_an_answer_is_a_sign_of_life(make_image: MakeImage, folder: Path, kvm: Acceleration) -> None:
    async def wait(machine: VirtualMachine) -> None:
        await machine.login_prompt(LIMIT)

        async def answer() -> None:
            for _ in range(3):
                await asyncio.sleep(0.6)
                machine.answered()

        await machine.until(answer(), LIMIT, "three answers", answers=True)

    in_machine(small(make_image(boot_sector(b"\r\ntoolsmith login: ", HANG))), folder, wait, kvm)


def test_a_guest_that_crashes_ends_the_wait(make_image: MakeImage, folder: Path) -> None:
    image = make_image(boot_sector(b"farewell\r\n", TRIPLE_FAULT))
    with pytest.raises(BootError, match="the guest reset itself, as it does after a crash") as caught:
        in_machine(small(image), folder, never)
    assert "farewell" in caught.value.details


def test_a_guest_that_powers_off_too_early_ends_the_wait(make_image: MakeImage, folder: Path) -> None:
    image = make_image(boot_sector(b"good night\r\n", POWER_OFF))
    with pytest.raises(BootError, match="the guest powered itself off"):
        in_machine(small(image), folder, never)


def test_a_guest_that_powers_off_as_expected_is_told_from_a_crash(make_image: MakeImage, folder: Path) -> None:
    seen = []

    async def wait(machine: VirtualMachine) -> None:
        seen.append(await machine.powered_off(LIMIT))

    in_machine(small(make_image(boot_sector(b"", POWER_OFF))), folder, wait)
    in_machine(small(make_image(boot_sector(b"", TRIPLE_FAULT))), folder, wait)
    in_machine(small(make_image(boot_sector(b"", POWER_OFF)), instruments=False), folder, wait)
    assert [(end.reason, end.exit_code) for end in seen] == [("guest-shutdown", 0), ("guest-reset", 0), ("", 0)]


def test_a_guest_that_does_not_power_off_is_given_up(make_image: MakeImage, folder: Path) -> None:
    async def wait(machine: VirtualMachine) -> None:
        await machine.powered_off(0.2)

    with pytest.raises(BootError, match="did not power off within"):
        in_machine(small(make_image(boot_sector(b"no", HANG))), folder, wait)


def test_a_disk_of_garbage_is_not_bootable(make_image: MakeImage, folder: Path) -> None:
    with pytest.raises(BootError, match="the firmware finds nothing to boot"):
        in_machine(small(make_image(b"\x17" * 4096)), folder, never)


@pytest.mark.parametrize("instruments", [True, False])
def test_a_port_in_use_is_the_fault_of_this_machine(make_image: MakeImage, folder: Path, *, instruments: bool) -> None:
    image = make_image(boot_sector(b"", HANG))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        spec = small(image, forwards={port: SSH_PORT}, instruments=instruments)
        with pytest.raises(HostError, match=f"port {port} is already in use"):
            in_machine(spec, folder, never)


def test_a_held_port_leads_nowhere_until_qemu_takes_it(make_image: MakeImage, folder: Path) -> None:
    image = make_image(boot_sector(b"", HANG))

    async def knock(_machine: VirtualMachine) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()

    with held_port() as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        in_machine(small(image, forwards={port: SSH_PORT}), folder, knock)


def test_a_file_that_is_no_disk_image_ends_qemu(folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "disk.qcow2"
    image.write_text("<html>not found</html>")
    with pytest.raises(BootError, match="QEMU ended with exit code 1") as caught:
        in_machine(small(image), folder, never)
    assert "qcow2" in caught.value.details


def test_the_consumers_arguments_start_a_machine(make_image: MakeImage, folder: Path, tmp_path: Path) -> None:
    async def wait(machine: VirtualMachine) -> None:
        await machine.until(machine.console.wait_for(re.compile("hello")), LIMIT, "a greeting")
        await machine.screenshot(tmp_path / "screen.png")

    image = make_image(boot_sector(b"hello", HANG))
    with held_port() as port:
        spec = ConsumerSpec(
            image=image, workspace=tmp_path, exports={"out": tmp_path}, host_port=port, instruments=True
        )
        in_machine(spec, folder, wait)
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_nothing_is_left_when_the_block_is_left(
    make_image: MakeImage, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    image = make_image(boot_sector(b"", HANG))
    before = image.read_bytes()

    async def leave(machine: VirtualMachine) -> None:
        await machine.screenshot(tmp_path / "screen.png")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_machine(small(image), folder, leave)
    assert not list(temporary.iterdir())
    assert not qemus_with(image)
    assert image.read_bytes() == before


PARENT = """
import asyncio, sys
from ci.boot import interruptible
from pathlib import Path
from ci.boot.vm.machine import start
from ci.boot.vm.qemu import MachineSpec
from ci.host.accelerator import Acceleration, Accelerator

async def main(image, folder):
    acceleration = Acceleration(accelerator=Accelerator.TCG, reason="a test")
    async with start(MachineSpec(image=image, memory_mib=16), acceleration, folder):
        print("started", flush=True)
        await asyncio.sleep(600)

interruptible.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_qemu_outlives_its_parent(make_image: MakeImage, folder: Path, signum: signal.Signals) -> None:
    image = make_image(boot_sector(b"", HANG))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, image, folder], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        pids = qemus_with(image)
        assert len(pids) == 1
        ended = os.pidfd_open(pids[0])
        parent.send_signal(signum)
        try:
            assert select.select([ended], [], [], LIMIT)[0]
        finally:
            os.close(ended)
    assert not qemus_with(image)
