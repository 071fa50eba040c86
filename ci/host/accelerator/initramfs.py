"""An initramfs of a few bytes whose init tries what a kernel needs of its machine, and says on the console how far.

Its program is a list of system calls, made one after another. The first that fails ends it, and so the kernel, whose
panic has the error's number. Nothing is compiled: a machine that builds images needs no compiler.
"""

import struct
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TypeAlias

ADDRESS = 0x400000
SECTOR_BYTES = 512
NANOSECONDS = 50_000_000

# What the kernel opens for init: https://docs.kernel.org/admin-guide/initrd.html
CONSOLE = 1
FIRST_OWN = 3

# "a number, or what a pointer leads to": equal bytes lie in one place, so that one call can read what another wrote.
Argument: TypeAlias = int | bytes
# The number of a system call, and up to four arguments.
Call: TypeAlias = tuple[Argument, ...]

# lea calls(%rip),%r12; next: mov (%r12),%rax; mov 8(%r12),%rdi; mov 16(%r12),%rsi; mov 24(%r12),%rdx;
# mov 32(%r12),%r10; syscall; add $40,%r12; test %rax,%rax; jns next; neg %rax; mov %rax,%rdi; mov $231,%eax; syscall
INTERPRETER = bytes.fromhex(
    "4c8d2530000000 498b0424 498b7c2408 498b742410 498b542418"
    "4d8b542420 0f05 4983c428 4885c0 79dd 48f7d8 4889c7 b8e7000000 0f05"
)


class SystemCall(IntEnum):
    """Their numbers on x86-64."""

    READ = 0
    WRITE = 1
    OPEN = 2
    NANOSLEEP = 35
    MOUNT = 165
    REBOOT = 169
    SCHED_SETAFFINITY = 203
    FINIT_MODULE = 313


def trial(cpus: int, modules: Sequence[str]) -> list[Call]:
    """Sleep on every CPU until its timer wakes it, load `modules`, and print the first sector of a virtio disk."""
    calls: list[Call] = [say("init runs")]
    for cpu in range(cpus):
        mask, length = struct.pack("<Q", 1 << cpu), 8
        calls += [
            (SystemCall.SCHED_SETAFFINITY, 0, length, mask),
            (SystemCall.NANOSLEEP, struct.pack("<QQ", 0, NANOSECONDS), 0),
            say(f"the timer of CPU {cpu} works"),
        ]
    calls.append((SystemCall.MOUNT, b"devtmpfs\0", b"/dev\0", b"devtmpfs\0", 0))
    for handle, module in enumerate(modules, FIRST_OWN):
        calls += [
            (SystemCall.OPEN, f"/{module}\0".encode(), 0),
            (SystemCall.FINIT_MODULE, handle, b"\0", 0),
        ]
    disk, sector = FIRST_OWN + len(modules), bytes(SECTOR_BYTES)
    return [
        *calls,
        (SystemCall.OPEN, b"/dev/vda\0", 0),
        (SystemCall.READ, disk, sector, SECTOR_BYTES),
        (SystemCall.WRITE, CONSOLE, sector, SECTOR_BYTES),
        (SystemCall.REBOOT, 0xFEE1DEAD, 0x28121969, 0x01234567),  # see reboot(2)
    ]


def say(text: str) -> Call:
    """A line on the console."""
    line = f"toolsmith: {text}\n".encode()
    return (SystemCall.WRITE, CONSOLE, line, len(line))


def program(calls: Sequence[Call]) -> bytes:
    """A static ELF executable that makes `calls`: https://refspecs.linuxfoundation.org/elf/elf.pdf."""
    header_bytes, call_bytes = 64 + 56, 5 * 8
    code = header_bytes
    table = code + len(INTERPRETER)
    data = table + len(calls) * call_bytes
    places: dict[bytes, int] = {}
    for value in (argument for call in calls for argument in call if isinstance(argument, bytes)):
        if value not in places:
            places[value] = data
            data += len(value)
    padded = [(*call, 0, 0, 0, 0)[:5] for call in calls]
    words = [struct.pack("<5Q", *(_word(argument, places) for argument in call)) for call in padded]
    # fmt: off
    elf = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01", 2, 62, 1,  # 64 bits, little-endian; an executable; for x86-64
        ADDRESS + code, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, ADDRESS, ADDRESS, data, data, 0x1000)  # to be loaded; rwx
    # fmt: on
    return b"".join([elf, segment, INTERPRETER, *words, *places])


def _word(argument: Argument, places: Mapping[bytes, int]) -> int:
    return ADDRESS + places[argument] if isinstance(argument, bytes) else argument


def archive(files: Mapping[str, bytes]) -> bytes:
    """`files` as the kernel unpacks them: https://docs.kernel.org/driver-api/early-userspace/buffer-format.html."""
    return b"".join(_member(name, content) for name, content in [*files.items(), ("TRAILER!!!", b"")])


def _member(name: str, content: bytes) -> bytes:
    path = name.encode() + b"\0"
    fields = (0, 0o100755, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return _aligned(header) + _aligned(content)


def _aligned(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
