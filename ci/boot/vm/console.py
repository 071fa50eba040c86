"""The serial console, watched while it is written: what it says, when it said so, and whether the guest is lost."""

import asyncio
import bisect
import codecs
import contextlib
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ci.host.errors import BootError
from ci.machine.exit import TAIL_LINES, last_lines

# How far back a match may begin before the bytes that complete it.
OVERLAP: Final = 4096
MAX_TEXT: Final = 1 << 20

# Not the greeting of a session that was opened without a prompt.
LOGIN_PROMPT: Final = re.compile(r"^(?!Last )[\w.-]+ login:", re.MULTILINE)

# A probe for the floppy drive that the machine has and no disk is in.
IGNORED: Final = re.compile(r"I/O error, dev fd0")
PROBLEM: Final = re.compile(
    r"\[FAILED\]|\[DEPEND\]|Failed to start|\bBUG:|\bOops\b|Call Trace|I/O error|Initramfs unpacking failed"
)

# ECMA-48: CSI and OSC sequences, character set choices, and the two-character ones.
ESCAPE: Final = re.compile(
    r"\x1b(?:\[(?P<csi>[0-?]*[ -/]*[@-~])|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)|[ -/]+[0-~]|[0-Z\\^-~])"
)
UNFINISHED_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,256}\x1b?|[ -/]*)?\Z")
MAX_ESCAPE: Final = 300
CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fatal:
    """Words on the console after which waiting is in vain: fatal.toml."""

    pattern: str
    meaning: str
    hint: str


FATAL: Final = tuple(
    Fatal(**entry)
    for entry in tomllib.loads(Path(__file__).with_name("fatal.toml").read_text(encoding="utf-8"))["fatal"]
)
FATAL_FLAGS: Final = re.MULTILINE | re.IGNORECASE
_ANY_FATAL: Final = re.compile("|".join(f"(?:{fatal.pattern})" for fatal in FATAL), FATAL_FLAGS)


class Console:
    """Takes the console's bytes as they come, keeps all of them in `log`, and answers questions about their text."""

    def __init__(self, log: Path, clock: Callable[[], float]) -> None:
        self.fatal_seen = asyncio.Event()
        self._log = log.open("wb", buffering=0)
        self.clock = clock
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self.text = ""  # what it said so far: no escape sequences, one kind of line end
        self._dropped = 0  # characters that were forgotten at the text's beginning
        self._marks: list[tuple[int, float]] = []  # (end of a chunk, when it came)
        self._changed = asyncio.Event()  # set for a moment, which wakes those who wait
        self._fatal_at = 0
        self._closed = False
        self.heard = 0.0  # when its last bytes came, in seconds since the start

    def feed(self, data: bytes) -> None:
        """Take bytes from the guest; they may end anywhere, in the middle of a character or an escape sequence."""
        self.heard = self.clock()
        self._log.write(data)
        self._append(self._decoder.decode(data))

    def close(self) -> None:
        """There is no more to come: QEMU ended. Whoever still waits gets an EOFError."""
        if self._closed:
            return
        self._append(self._decoder.decode(b"", final=True), final=True)
        self._closed = True
        self._log.close()
        self._wake()

    async def wait_for(self, pattern: re.Pattern[str], start: int = 0) -> float:
        """Wait until `pattern` is on the console; it may be there already. Raises EOFError when QEMU ended.

        Returns when it was complete, in seconds since the start. `start` is how many characters are not of interest.
        """
        while (seconds := self.find(pattern, start)) is None:
            if self._closed:
                raise EOFError("the console ended")
            start = max(start, self._end - OVERLAP)
            await self._changed.wait()
        return seconds

    def find(self, pattern: re.Pattern[str], start: int = 0) -> float | None:
        """When the console said this, in seconds since the start; None where it has not yet."""
        found = pattern.search(self.text, max(start - self._dropped, 0))
        if found is None:
            return None
        mark = bisect.bisect_left(self._marks, found.end() + self._dropped, key=lambda mark: mark[0])
        return self._marks[mark][1]

    def tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines that are not blank, cut to a readable length."""
        return last_lines(self.text, lines)

    def problems(self) -> tuple[str, ...]:
        """Lines before the login prompt that tell of something gone wrong, in their order."""
        prompt = LOGIN_PROMPT.search(self.text)
        before = self.text[: prompt.start()] if prompt else self.text
        lines = (line.strip() for line in before.split("\n"))
        return tuple(line for line in lines if PROBLEM.search(line) and not IGNORED.search(line))

    async def fatal_error(self, patience: float = 1.0) -> BootError:
        """What the fatal words mean. Waits up to `patience` seconds for the rest of their line."""
        if not self._closed:
            with contextlib.suppress(TimeoutError, EOFError):
                await asyncio.wait_for(self.wait_for(re.compile("\n"), self._fatal_at), patience)
        found = self.text[max(self._fatal_at - self._dropped, 0) :]
        for fatal in FATAL:
            if re.search(fatal.pattern, found, FATAL_FLAGS):
                return BootError(fatal.meaning, hint=fatal.hint, details=self.tail())
        raise AssertionError("asked for a fatal error that was not seen")

    def _append(self, text: str, *, final: bool = False) -> None:
        text = self._pending + text
        unfinished = UNFINISHED_ESCAPE.search(text, max(len(text) - MAX_ESCAPE, 0))
        cut = unfinished.start() if unfinished and not final else len(text)
        text, self._pending = text[:cut], text[cut:]
        # A sequence that moves the cursor to another place begins new text, as a line end does.
        text = ESCAPE.sub(lambda found: "\n" if (found["csi"] or "").endswith(("H", "f", "J")) else "", text)
        text = CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        searched_from = max(self._end - OVERLAP, self._dropped)
        self.text += text
        self._marks.append((self._end, self.clock()))
        if not self.fatal_seen.is_set() and (found := _ANY_FATAL.search(self.text, searched_from - self._dropped)):
            self._fatal_at = found.start() + self._dropped
            self.fatal_seen.set()
        self._wake()
        if len(self.text) > MAX_TEXT:
            surplus = len(self.text) - MAX_TEXT // 2
            self.text = self.text[surplus:]
            self._dropped += surplus

    @property
    def _end(self) -> int:
        return self._dropped + len(self.text)

    def _wake(self) -> None:
        self._changed.set()
        self._changed.clear()
