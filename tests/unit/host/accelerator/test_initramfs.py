import struct
from collections.abc import Iterator
from itertools import islice

from ci.host.accelerator.initramfs import (
    ADDRESS,
    INTERPRETER,
    SystemCall,
    archive,
    program,
    trial,
)


def calls_in(elf: bytes) -> Iterator[tuple[int, ...]]:
    """The table of calls as the program finds it: right behind its code."""
    (entry,) = struct.unpack_from("<Q", elf, 24)
    table = entry - ADDRESS + len(INTERPRETER)
    while True:
        yield struct.unpack_from("<5Q", elf, table)
        table += 40


def test_the_program_is_an_executable_for_this_processor_that_is_loaded_whole() -> None:
    elf = program([(SystemCall.WRITE, 1, b"hello", 5)])
    assert elf.startswith(b"\x7fELF\x02\x01\x01")
    assert struct.unpack_from("<HH", elf, 16) == (2, 62)
    kind, flags, offset, address, _, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", elf, 64)
    assert (kind, flags, offset, address, in_file, in_memory) == (1, 7, 0, ADDRESS, len(elf), len(elf))
    assert elf[120:].startswith(INTERPRETER)


def test_a_pointer_leads_to_its_bytes_and_equal_bytes_are_one_place() -> None:
    elf = program([(SystemCall.READ, 3, b"12345678", 8), (SystemCall.WRITE, 1, b"12345678", 8)])
    read, write = islice(calls_in(elf), 2)
    assert read[:2] == (SystemCall.READ, 3)
    assert write[:2] == (SystemCall.WRITE, 1)
    assert read[2] == write[2]
    assert elf[read[2] - ADDRESS :][:8] == b"12345678"


def test_the_trial_waits_for_the_timer_of_every_cpu_and_reads_from_a_virtio_disk() -> None:
    calls = trial(2, ["virtio.ko", "virtio_blk.ko"])
    numbers = [number for number, *_ in calls]
    assert numbers.count(SystemCall.SCHED_SETAFFINITY) == numbers.count(SystemCall.NANOSLEEP) == 2
    assert {call[3] for call in calls if call[0] is SystemCall.SCHED_SETAFFINITY} == {
        struct.pack("<Q", 1),
        struct.pack("<Q", 2),
    }
    opened = [call[1] for call in calls if call[0] is SystemCall.OPEN]
    assert opened == [b"/virtio.ko\0", b"/virtio_blk.ko\0", b"/dev/vda\0"]
    # The kernel gives out handles in turn, and nothing is closed.
    assert [call[1] for call in calls if call[0] is SystemCall.FINIT_MODULE] == [3, 4]
    assert [call[1] for call in calls if call[0] is SystemCall.READ] == [5]
    assert numbers[-1] is SystemCall.REBOOT


def test_the_archive_holds_each_file_as_a_program_and_ends_with_its_trailer() -> None:
    content = archive({"init": b"\x7fELF?", "virtio.ko": b"module"})
    names, at = [], 0
    while at < len(content):
        fields = [int(content[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        assert content[at : at + 6] == b"070701"
        name = content[at + 110 : at + 110 + fields[11] - 1].decode()
        names.append((name, fields[1], fields[6]))
        at += -(-(110 + fields[11]) // 4) * 4
        if name == "init":
            assert content[at : at + 5] == b"\x7fELF?"
        at += -(-fields[6] // 4) * 4
    assert names == [("init", 0o100755, 5), ("virtio.ko", 0o100755, 6), ("TRAILER!!!", 0o100755, 0)]
