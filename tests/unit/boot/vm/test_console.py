import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.boot.vm.console import FATAL, LOGIN_PROMPT, MAX_TEXT, Console


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def console(tmp_path: Path, clock: Clock) -> Iterator[Console]:
    made = Console(tmp_path / "console.log", clock)
    yield made
    made.close()


BOOT = (
    "\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS (version 1.16.2)\r\n"
    "[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh.service\x1b[0m on Schlüssel.\r\n"
    "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mslow.service\x1b[0m.\r\n"
    "\x1b]0;title\x07blk_update_request: I/O error, dev fd0, sector 0\r\n"
    "\r\nDebian GNU/Linux 12 guest ttyS0\r\n\r\nguest login: "
)


def test_the_log_has_every_byte_and_the_text_no_escape_sequences(console: Console, tmp_path: Path) -> None:
    console.feed(BOOT.encode())
    assert (tmp_path / "console.log").read_bytes() == BOOT.encode()
    assert "\x1b" not in console.text
    assert "[  OK  ] Started ssh.service on Schlüssel.\n" in console.text
    assert "title" not in console.text


@given(cuts=st.lists(st.integers(0, len(BOOT.encode())), max_size=12))
def test_it_does_not_matter_where_the_bytes_are_cut(cuts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    data = BOOT.encode()
    folder = tmp_path_factory.mktemp("console")
    whole, cut = Console(folder / "whole", Clock()), Console(folder / "cut", Clock())
    whole.feed(data)
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        cut.feed(data[begin:end])
    for one in (whole, cut):
        one.close()
    assert re.sub("\n+", "\n", cut.text) == re.sub("\n+", "\n", whole.text)
    assert cut.problems() == whole.problems()


def test_invalid_utf_8_is_replaced(console: Console) -> None:
    console.feed(b"a\xffb\xc3")
    console.feed(b"\nc")
    assert console.text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}\nc"


def test_an_escape_sequence_that_never_ends_does_not_hide_the_rest(console: Console) -> None:
    console.feed(b"\x1b]" + b"x" * 400 + b"\nKernel panic - not syncing: hidden\n")
    assert console.fatal_seen.is_set()


def test_text_put_at_another_place_of_the_screen_is_a_line_of_its_own(console: Console) -> None:
    console.feed(b"Booting\x1b[12;1Hgrub rescue> ")
    assert console.text == "Booting\ngrub rescue> "


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("[    5.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009", "the kernel panicked"),
        ("Kernel panic - not syncing: System is deadlocked on memory", "too little memory to start"),
        (
            "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            "cannot mount the root file system",
        ),
        ("Out of memory: Killed process 321 (sshd) total-vm:1kB", "ran out of memory"),
        ("apt invoked oom-killer: gfp_mask=0x1, order=0", "ran out of memory"),
        ("You are in emergency mode. After logging in, type", "emergency mode"),
        ("Press Enter for maintenance", "emergency mode"),
        ("Give root password for maintenance", "emergency mode"),
        ("(initramfs) ", "the initramfs gave up"),
        ("grub rescue> ", "GRUB does not find its files"),
        ("grub> ", "GRUB found no configuration"),
        ("No bootable device.", "the firmware finds nothing to boot"),
    ],
)
def test_words_after_which_waiting_is_in_vain_are_told_at_once(console: Console, line: str, meaning: str) -> None:
    console.feed(f"before\r\n\x1b[0;31m{line[:3]}".encode())
    assert not console.fatal_seen.is_set()
    console.feed(f"{line[3:]}\r\n".encode())
    assert console.fatal_seen.is_set()
    error = asyncio.run(console.fatal_error())
    assert meaning in error.message
    assert error.hint
    assert error.details == f"before\n{line.rstrip()}"


@pytest.mark.parametrize(
    "line",
    [
        "[    0.5] Unpacking initramfs...",
        "[    0.5] Freeing initrd memory: 9000K",
        "GNU GRUB  version 2.06",
        "[  OK  ] Reached target emergency.target",
        "systemd-oomd: Userspace Out-Of-Memory (OOM) Killer",
        "Kernel command line: panic=-1",
    ],
)
def test_ordinary_lines_are_not_fatal(console: Console, line: str) -> None:
    console.feed(f"{line}\r\n".encode())
    assert not console.fatal_seen.is_set()


def test_every_fatal_pattern_says_what_to_do() -> None:
    assert all(fatal.meaning and fatal.hint for fatal in FATAL)


def test_the_login_prompt_is_found_without_a_line_end_and_with_its_time(console: Console, clock: Clock) -> None:
    async def main() -> float:
        waiting = asyncio.ensure_future(console.wait_for(LOGIN_PROMPT))
        await asyncio.sleep(0)
        for now, data in ((1.0, b"Last login: never\r\nDebian\r\n"), (2.0, b"gue"), (3.0, b"st log"), (4.0, b"in: ")):
            clock.now = now
            console.feed(data)
            await asyncio.sleep(0)
        clock.now = 9.0
        first = await waiting
        assert await console.wait_for(LOGIN_PROMPT) == first
        return first

    assert asyncio.run(main()) == 4.0


def test_what_was_said_before_the_question_is_found_with_the_time_it_was_said(console: Console, clock: Clock) -> None:
    for clock.now, data in ((1.0, b"one "), (2.0, b"two "), (3.0, b"three")):
        console.feed(data)
    found = console.find(re.compile("two"))
    assert found is not None
    assert found == 2.0
    assert console.find(re.compile("four")) is None


def test_who_still_waits_at_the_end_is_told(console: Console) -> None:
    async def main() -> None:
        waiting = asyncio.ensure_future(console.wait_for(LOGIN_PROMPT))
        await asyncio.sleep(0)
        console.close()
        with pytest.raises(EOFError):
            await waiting
        with pytest.raises(EOFError):
            await console.wait_for(LOGIN_PROMPT)

    asyncio.run(main())


def test_problems_are_the_lines_before_the_login_prompt_that_tell_of_one(console: Console) -> None:
    console.feed(BOOT.encode() + b"\r\n[FAILED] afterwards\r\n")
    assert console.problems() == ("[FAILED] Failed to start slow.service.",)


@pytest.mark.parametrize(
    "line",
    [
        "BUG: unable to handle page fault",
        "Oops: 0002",
        "Call Trace:",
        "vda: I/O error",
        "Initramfs unpacking failed: x",
    ],
)
def test_a_kernels_complaint_is_a_problem_even_before_any_prompt(console: Console, line: str) -> None:
    console.feed(f"fine\r\n[ 1.0] {line}\r\nfine\r\n".encode())
    assert console.problems() == (f"[ 1.0] {line}",)


def test_the_tail_is_short_even_where_the_console_never_ends_a_line(console: Console) -> None:
    console.feed(b"x" * 100_000)
    assert len(console.tail()) < 400
    console.feed(b"\r\n\r\n" + b"".join(b"line %d\r\n\r\n" % number for number in range(50)))
    assert console.tail().split("\n") == [f"line {number}" for number in range(30, 50)]


def test_a_guest_that_never_stops_talking_does_not_fill_the_memory(console: Console, clock: Clock) -> None:
    chunk = b"y" * 16383 + b"\n"
    for _ in range(2 * MAX_TEXT // len(chunk)):
        console.feed(chunk)
    clock.now = 5.0
    console.feed(b"guest login: ")
    found = console.find(LOGIN_PROMPT)
    assert found is not None
    assert found == 5.0
    assert len(console.text) <= MAX_TEXT
