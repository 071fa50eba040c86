"""One libguestfs appliance, driven command by command: guestfish reading from a pipe.

A start of the appliance costs 15 to 20 s without KVM, so everything a build does to the disk happens in one session.
guestfish ends at the first command that fails, which is how we learn of it.
https://libguestfs.org/guestfish.1.html
"""

import logging
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ci.host.errors import BuildError, HostError, ToolTimeoutError
from ci.host.process import PIPE, TAIL_LINES, Child, spawn

logger = logging.getLogger("ci.guestfish")

MEMORY_MIB = 1536
CPUS = 2
START_SECONDS = 600
POLL_SECONDS = 2.0
FULL_BYTES = 16 << 20
# From a pipe guestfish reads into a buffer of 8192 bytes, and takes what is longer for two commands.
# rl_gets() in https://github.com/libguestfs/libguestfs/blob/master/fish/fish.c
MAX_LINE_BYTES = 8190
WRITE_CHARACTERS = 1000  # of up to 4 bytes each


def quote(argument: str) -> str:
    """`argument` as one word of guestfish's command language, in which a backslash escapes within double quotes."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


class Guestfish:
    """A running session; see `session`."""

    def __init__(self, process: Child, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._errors: deque[str] = deque(maxlen=TAIL_LINES)
        self._drain = threading.Thread(target=self._read_errors, args=(process.stderr,), daemon=True)
        self._drain.start()

    def start(self) -> None:
        """Start the appliance: 15 to 20 s without KVM."""
        self.command("run", timeout=START_SECONDS)

    def command(self, name: str, *arguments: str | os.PathLike[str], timeout: float = 300) -> str:
        """Run one guestfish command and return what it printed. Raises BuildError with guestfish's own words."""
        line = " ".join([name, *(quote(os.fspath(argument)) for argument in arguments)])
        if len(line.encode()) > MAX_LINE_BYTES:
            raise ValueError(f"guestfish cannot read a command of {len(line)} characters")
        logger.debug("> %s", line)
        end = f"end-{secrets.token_hex(8)}"
        watchdog = _Watchdog(self._process, self._folder, timeout)
        watchdog.start()
        try:
            output = self._exchange(line, end)
        finally:
            watchdog.stop()
        if output is not None:
            logger.debug("%s", output.rstrip("\n"))
            return output
        if watchdog.disk_full:
            raise HostError(
                f"the disk became full while the appliance was at `{name}`: {self._folder}",
                hint="Free some space, or choose another folder with --output or TOOLSMITH_CACHE.",
            )
        if watchdog.expired:
            raise ToolTimeoutError(
                f"the libguestfs appliance did not finish `{name}` within {timeout:.0f} s",
                hint="The machine may be overloaded, or the disk image damaged; the log shows how far it came.",
            )
        self._process.wait()
        self._drain.join(5)
        raise BuildError(
            f"the libguestfs appliance failed at `{name}`",
            hint="Run `python -m ci.doctor`: it starts an appliance and says what is wrong with it.",
            details="\n".join(self._errors),
        )

    def write(self, path: str, content: str) -> None:
        """Make a file with `content`, of any length."""
        self.command("write", path, "")
        for start in range(0, len(content), WRITE_CHARACTERS):
            self.command("write-append", path, content[start : start + WRITE_CHARACTERS])

    def shell(self, script: str, *, timeout: float) -> tuple[int, str]:
        """Run a shell script in the mounted guest; returns its exit code and everything it printed."""
        # guestfish's own `sh` drops stdout when a script fails, and would end the session with it.
        output = self.command("sh", f"{{ {script}\n}} 2>&1; code=$?; echo; echo exit=$code", timeout=timeout)
        text, _, code = output.rstrip("\n").rpartition("exit=")
        return int(code), text.rstrip("\n")

    def _exchange(self, line: str, end: str) -> str | None:
        assert self._process.stdin is not None  # noqa: S101 - spawn() made the pipe
        assert self._process.stdout is not None  # noqa: S101
        try:
            self._process.stdin.write(f"{line}\necho {end}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        output: list[str] = []
        for text in self._process.stdout:
            if text.rstrip("\n").endswith(end):
                return "".join(output) + text.rstrip("\n").removesuffix(end)
            output.append(text)
        return None

    def _read_errors(self, stream: IO[str]) -> None:
        for line in stream:
            logger.debug("err| %s", line.rstrip("\n"))
            self._errors.append(line.rstrip("\n"))


class _Watchdog(threading.Thread):
    """Kills `process` when its time is up, or when `folder`'s file system is full.

    A full disk is no error that would reach us: QEMU stops the appliance until there is space again (its
    `werror=enospc`).
    """

    def __init__(self, process: Child, folder: Path, timeout: float) -> None:
        super().__init__(daemon=True)
        self.expired = False
        self.disk_full = False
        self._process = process
        self._folder = folder
        self._deadline = time.monotonic() + timeout
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(max(0, min(POLL_SECONDS, self._deadline - time.monotonic()))):
            self.disk_full = shutil.disk_usage(self._folder).free < FULL_BYTES
            self.expired = time.monotonic() >= self._deadline
            if self.disk_full or self.expired:
                self._process.kill()
                return

    def stop(self) -> None:
        self._stopped.set()


@contextmanager
def session(
    disk: Path, disk_format: str, *, environment: Mapping[str, str], temporary: Path, archive: Path | None = None
) -> Iterator[Guestfish]:
    """An appliance with `disk` attached as /dev/sda and the raw `archive` as /dev/sdb, to be started with `start`.

    It has no network: what it needs is on its disks. Its commands know them by these names, whatever its kernel does.

    `environment` chooses the accelerator; `temporary` holds what libguestfs leaves behind should it be killed, and
    is on the disk's own file system.
    Left without an exception, the session is shut down in order, so that nothing written is lost.
    """
    variables = {**environment, "LIBGUESTFS_TMPDIR": os.fspath(temporary)}
    with spawn(["guestfish"], env=variables, stdin=PIPE) as process:
        guest = Guestfish(process, temporary)
        guest.command("set-memsize", str(MEMORY_MIB))
        guest.command("set-smp", str(CPUS))
        # unsafe: a build that dies starts anew, so no write needs to reach the disk before the last one.
        guest.command("add-drive", disk, f"format:{disk_format}", "cachemode:unsafe", "discard:enable")
        if archive:
            guest.command("add-drive", archive, "format:raw", "readonly:true")
        yield guest
        guest.command("umount-all")
        guest.command("shutdown")
