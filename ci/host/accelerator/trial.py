"""A guest that is started to see whether it runs: a whole kernel, or 512 bytes where no kernel can be read."""

import gzip
import lzma
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ci.host.accelerator import initramfs
from ci.host.accelerator.kernel import HostKernel, module_files
from ci.host.accelerator.kvm_device import NO_GUESTS, KvmFault
from ci.host.errors import HostError, ToolError, ToolTimeoutError
from ci.host.process import Completed, run
from ci.host.qemu import QEMU, escape

MEMORY_MIB = 256
MODULES = ("virtio_pci", "virtio_blk")
UNPACK: dict[str, Callable[[bytes], bytes]] = {".ko": bytes, ".xz": lzma.decompress, ".gz": gzip.decompress}
WORD = "toolsmith: a virtio disk answers"
SAID = "toolsmith: "

# Measured without KVM, which is slower than any KVM: on two processors the whole took 5 s, and 12 to 17 s beside two
# builds; the longest silence, while the kernel unpacks itself, was half of that. docs/performance.md
SILENCE_SECONDS = 45.0
KERNEL_SECONDS = 180.0
SECTOR_SECONDS = 15.0

PROBE_VALUE = 0x2A
PROBE_EXIT_CODE = PROBE_VALUE << 1 | 1  # what isa-debug-exit makes of the value the guest writes


def find_kernel_fault(qemu_args: Sequence[str], cpus: int, kernel: HostKernel) -> KvmFault | None:
    """What goes wrong when `kernel` is started with this accelerator, CPU and number of CPUs.

    Raises LookupError where the kernel has no driver for a virtio disk, or none that can be read.
    """
    with tempfile.TemporaryDirectory(prefix="toolsmith-trial-") as name:
        folder = Path(name)
        ramdisk, disk = folder / "initramfs", folder / "disk"
        files = {file.name: uncompressed(file, folder) for file in module_files(kernel.modules, MODULES)}
        ramdisk.write_bytes(initramfs.archive({"init": initramfs.program(initramfs.trial(cpus, list(files))), **files}))
        disk.write_bytes(f"{WORD}\n".encode().ljust(initramfs.SECTOR_BYTES, b"\0"))
        argv = kernel_argv(qemu_args, cpus, kernel.image, ramdisk, disk)
        try:
            done = run(argv, timeout=KERNEL_SECONDS, silence=SILENCE_SECONDS)
        except ToolError as error:
            return _kernel_fault(error.message if isinstance(error, ToolTimeoutError) else last_words(error))
    return judge(done)


def bare_qemu(qemu_args: Sequence[str], *more: str) -> list[str]:
    """QEMU's arguments for a guest that has nothing but `more`, and ends by itself."""
    return [QEMU, *qemu_args, *more, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]


def kernel_argv(qemu_args: Sequence[str], cpus: int, kernel: Path, ramdisk: Path, disk: Path) -> list[str]:
    """QEMU's arguments for a kernel with its console on stdout."""
    # fmt: off
    return bare_qemu(
        qemu_args,
        "-smp", str(cpus),
        "-m", str(MEMORY_MIB),
        "-machine", "graphics=off",  # SeaBIOS then speaks on the serial port too
        "-serial", "stdio",
        "-kernel", os.fspath(kernel),
        "-initrd", os.fspath(ramdisk),
        "-append", "console=ttyS0 earlyprintk=serial,ttyS0 ignore_loglevel panic=-1 no_timer_check",  # as the image's
        "-drive", f"file={escape(disk)},format=raw,if=virtio,readonly=on",
    )
    # fmt: on


def judge(done: Completed) -> KvmFault | None:
    """Whether the kernel came to the end of its trial, by what it said on its console."""
    lines = done.stdout.splitlines()
    if WORD in lines:
        return None
    steps = [line.removeprefix(SAID) for line in lines if line.startswith(SAID)]
    return _kernel_fault(f"its last word was: {steps[-1]}" if steps else "it did not get as far as its init")


def _kernel_fault(problem: str) -> KvmFault:
    return KvmFault(what=f"a kernel does not run with KVM: {problem}", fix=NO_GUESTS)


def uncompressed(file: Path, folder: Path) -> bytes:
    """A module as every kernel loads it, with `folder` for what is made on the way.

    Raises LookupError where it cannot be had.
    """
    try:
        if unpack := UNPACK.get(file.suffix):
            return unpack(file.read_bytes())
        if file.suffix == ".zst":
            run(["zstd", "--quiet", "--decompress", file, "-o", folder / file.stem], timeout=60)
            return (folder / file.stem).read_bytes()
    except (OSError, EOFError, lzma.LZMAError, HostError, ToolError) as error:
        raise LookupError(f"{file} cannot be read: {error}") from error
    raise LookupError(f"{file} is not compressed in a known way")


def find_sector_fault(qemu_args: Sequence[str]) -> KvmFault | None:
    """What goes wrong when a guest of 512 bytes is started."""
    with tempfile.TemporaryDirectory(prefix="toolsmith-trial-") as folder:
        sector = Path(folder, "boot.img")
        sector.write_bytes(boot_sector())
        try:
            run(sector_argv(qemu_args, sector), timeout=SECTOR_SECONDS, ok=(PROBE_EXIT_CODE,))
        except ToolError as error:
            return KvmFault(what=f"a guest does not run with KVM: {last_words(error)}", fix=NO_GUESTS)
    return None


def boot_sector() -> bytes:
    """Return a boot sector that writes PROBE_VALUE to isa-debug-exit, which ends QEMU."""
    code = bytes([0xB0, PROBE_VALUE, 0xE6, 0xF4, 0xF4])  # mov al, value; out 0xf4, al; hlt
    return code.ljust(510, b"\0") + b"\x55\xaa"


def sector_argv(qemu_args: Sequence[str], sector: Path) -> list[str]:
    drive = f"file={escape(sector)},format=raw,if=ide,snapshot=on"
    return bare_qemu(qemu_args, "-m", "16", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-drive", drive)


def last_words(error: ToolError) -> str:
    """QEMU's own reason on one line, or how it ended where it said nothing."""
    last = error.details.strip().rpartition("\n")[2].removeprefix(f"{QEMU}: ")
    return f"{last} ({error.message})" if last else error.message
