"""One libguestfs appliance, driven command by command: guestfish reading from a pipe.

A start of the appliance costs 15 to 20 s without KVM, so everything a build does to the disk happens in one session.
guestfish ends at the first command that fails, which is how we learn of it.
https://libguestfs.org/guestfish.1.html
"""

import logging
import os
import re
import secrets
import shlex
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from ci.host.accelerator import CPUS, SILENCE_SECONDS, Acceleration, Accelerator
from ci.host.errors import AcceleratorError, BuildError, HostError, ToolsmithError, ToolTimeoutError, toolsmith
from ci.host.process import PIPE, TAIL_LINES, Child, kill_group, require_tool, spawn
from ci.host.qemu import QEMU

logger = logging.getLogger("ci.guestfish")

MEMORY_MIB = 1536
START_SECONDS = 600
COMMAND_SECONDS = 900
POLL_SECONDS = 2.0
FULL_BYTES = 16 << 20
# From a pipe guestfish reads into a buffer of 8192 bytes, and takes what is longer for two commands.
# rl_gets() in https://github.com/libguestfs/libguestfs/blob/master/fish/fish.c
MAX_LINE_BYTES = 8190
WRITE_CHARACTERS = 1000  # of up to 4 bytes each

CONSOLE_VARIABLE = "TOOLSMITH_APPLIANCE_CONSOLE"
# libguestfs hands on what the appliance writes on its console while one of its commands runs.
KEEP_CONSOLE = f'printf %s "$1" >>"${CONSOLE_VARIABLE}"'
# Written by the appliance's own clock, so that a command that takes long is told from an appliance that hangs.
HEARTBEAT = f"(while sleep {SILENCE_SECONDS / 10:.0f}; do echo alive >/dev/console; done) </dev/null >/dev/null 2>&1 &"
# libguestfs says `accel=kvm:tcg`, to start an appliance and to ask what its QEMU can, which has no answer where KVM
# aborts. https://github.com/libguestfs/libguestfs/blob/master/lib/qemu.c
HYPERVISOR = Path(__file__).with_name("hypervisor.sh.in").read_text(encoding="utf-8")
# In MiB. TCG keeps what it translated, by default in 1 GiB, which no build fills: when the guest then uses memory of
# ended programs anew, every page of it has code that must be found and forgotten first. docs/performance.md
TRANSLATED_MIB = 64
CRASHED: Final = re.compile(
    r"appliance closed the connection unexpectedly|appliance failed to start or crashed|killed by signal"
)


def _ask_doctor() -> str:
    return f"Run `{toolsmith('doctor')}`: it starts an appliance and says what is wrong with it."


def quote(argument: str) -> str:
    """`argument` as one word of guestfish's command language, in which a backslash escapes within double quotes."""
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def _word(argument: str | os.PathLike[str]) -> str:
    return argument if isinstance(argument, str) else os.fspath(Path(argument).absolute())


class Guestfish:
    """A running session; see `session`."""

    def __init__(self, process: Child, folder: Path, acceleration: Acceleration) -> None:
        self._process = process
        self._folder = folder
        self._acceleration = acceleration
        self._failure: ToolsmithError | None = None
        self._errors: deque[str] = deque(maxlen=TAIL_LINES)
        self._drain = threading.Thread(target=self._read_errors, args=(process.stderr,), daemon=True)
        self._drain.start()

    def start(self) -> None:
        """Start the appliance: 15 to 20 s without KVM."""
        self.command("run", timeout=START_SECONDS)
        self.command("debug", "sh", HEARTBEAT)

    def command(self, name: str, *arguments: str | os.PathLike[str], timeout: float = COMMAND_SECONDS) -> str:
        """Run one guestfish command and return what it printed. Raises BuildError with guestfish's own words.

        A path of this machine is a Path, one of the guest a string.

        Raises ToolTimeoutError after `timeout` seconds, or earlier where the appliance shows no sign of life; that, and
        its death, are an AcceleratorError with KVM.
        """
        line = " ".join([name, *(quote(_word(argument)) for argument in arguments)])
        if len(line.encode()) > MAX_LINE_BYTES:
            raise ValueError(f"guestfish cannot read a command of {len(line)} characters")
        logger.debug("> %s", line)
        ended = threading.Event()
        threading.Thread(target=self._watch, args=(name, timeout, ended), daemon=True).start()
        try:
            output = self._exchange(line, f"end-{secrets.token_hex(8)}")
        finally:
            ended.set()
        if output is None:
            raise self._failure or self._death(name)
        logger.debug("%s", output.rstrip("\n"))
        return output

    def _watch(self, name: str, timeout: float, ended: threading.Event) -> None:
        """Kill guestfish when its time is up, the appliance's console has been silent too long, or the disk is full.

        A full disk is no error that would reach us: QEMU stops the appliance until there is space again (its
        `werror=enospc`).
        """
        deadline, silence = time.monotonic() + timeout, self._acceleration.silence
        written, heard = len(_console_text(self._folder)), time.monotonic()
        while not ended.wait(max(0, min(POLL_SECONDS, deadline - time.monotonic()))):
            full = shutil.disk_usage(self._folder).free < FULL_BYTES
            if (now := len(_console_text(self._folder))) != written:
                written, heard = now, time.monotonic()
            if full:
                self._failure = HostError(
                    f"the disk became full while the appliance was at `{name}`: {self._folder}",
                    hint="Free some space, or choose another folder with --output or TOOLSMITH_CACHE.",
                )
            elif time.monotonic() - heard >= silence:
                self._failure = self._silent(f"gave no sign of life for {silence:.0f} s at `{name}`")
            elif time.monotonic() >= deadline:
                self._failure = ToolTimeoutError(
                    f"the libguestfs appliance did not finish `{name}` within {timeout:.0f} s",
                    hint="The machine may be overloaded, or the disk image damaged; the log shows how far it came.",
                )
            if self._failure:
                kill_group(self._process)
                return

    def _silent(self, what: str) -> ToolsmithError:
        details = _console_tail(self._folder)
        if self._acceleration.accelerator is Accelerator.KVM:
            return AcceleratorError(f"the libguestfs appliance {what}, with KVM", details=details)
        return ToolTimeoutError(f"the libguestfs appliance {what}", hint=_ask_doctor(), details=details)

    def _death(self, name: str) -> ToolsmithError:
        """Why guestfish ended by itself during a command."""
        self._process.wait()
        self._drain.join(5)
        details = "\n".join(self._errors)
        if self._acceleration.accelerator is Accelerator.KVM and CRASHED.search(details):
            return AcceleratorError(
                f"the libguestfs appliance died at `{name}`, with KVM",
                details=f"{_console_tail(self._folder)}\n{details}".strip(),
            )
        return BuildError(f"the libguestfs appliance failed at `{name}`", hint=_ask_doctor(), details=details)

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


def _console(folder: Path) -> Path:
    return folder / "appliance.log"


def _console_text(folder: Path) -> str:
    """What the appliance that has `folder` for its files wrote on its console."""
    try:
        return _console(folder).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _console_tail(folder: Path) -> str:
    lines = [line for line in _console_text(folder).splitlines() if line.strip() not in ("", "alive")]
    return "\n".join(lines[-TAIL_LINES:])


def libguestfs_environment(acceleration: Acceleration, folder: Path) -> dict[str, str]:
    """What makes libguestfs start the QEMU that was tried, with the accelerator that was found, and no other.

    Where a person has told libguestfs to start another QEMU, it is that one. `folder` must stay while it runs, and be
    its working folder: the QEMU of a long path makes libguestfs write past the end of a buffer, in add_string() of
    https://github.com/libguestfs/libguestfs/blob/master/lib/command.c
    """
    hypervisor = folder / f"qemu-with-{acceleration.accelerator}"
    qemu = Path(os.environ.get("LIBGUESTFS_HV") or require_tool(QEMU)).absolute()
    with_tcg = acceleration.accelerator is Accelerator.TCG
    accelerator = f"tcg,thread=multi,tb-size={TRANSLATED_MIB}" if with_tcg else "kvm"
    script = HYPERVISOR.format(qemu=shlex.quote(os.fspath(qemu)), accelerator=accelerator)
    hypervisor.write_text(script, encoding="utf-8")
    hypervisor.chmod(0o755)
    # libguestfs keeps what it knows of a QEMU for as long as size and time are the same.
    os.utime(hypervisor, ns=(qemu.stat().st_mtime_ns, qemu.stat().st_mtime_ns))
    environment = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_HV": f"./{hypervisor.name}"}
    if with_tcg:
        environment["LIBGUESTFS_BACKEND_SETTINGS"] = "force_tcg"
        # libguestfs has its kernel trust the TSC, whose frequency it measures wrongly on a busy machine: seen were
        # 30 MHz instead of 2.6 GHz. The appliance's clock then runs 87 times as fast, and it does little else than to
        # answer its timer.
        environment["LIBGUESTFS_APPEND"] = "tsc=unstable"
    return environment


@contextmanager
def appliance(acceleration: Acceleration, temporary: Path) -> Iterator[Guestfish]:
    """An appliance without disks, to be started with `start`.

    `temporary` holds its console's text, and what libguestfs leaves behind should it be killed.
    """
    temporary = temporary.absolute()
    _console(temporary).unlink(missing_ok=True)  # an earlier appliance's
    variables = {
        **libguestfs_environment(acceleration, temporary),
        "LIBGUESTFS_TMPDIR": os.fspath(temporary),
        CONSOLE_VARIABLE: os.fspath(_console(temporary)),
    }
    with spawn(["guestfish"], env=variables, cwd=temporary, stdin=PIPE) as process:
        guest = Guestfish(process, temporary, acceleration)
        guest.command("event", "console", "appliance", KEEP_CONSOLE)
        guest.command("set-memsize", str(MEMORY_MIB))
        guest.command("set-smp", str(CPUS))
        yield guest


@contextmanager
def session(
    disk: Path, disk_format: str, *, acceleration: Acceleration, temporary: Path, archive: Path | None = None
) -> Iterator[Guestfish]:
    """An appliance with `disk` attached as /dev/sda and the raw `archive` as /dev/sdb, to be started with `start`.

    It has no network: what it needs is on its disks. Its commands know them by these names, whatever its kernel does.

    `temporary` is on the disk's own file system, and as in `appliance`.
    Left without an exception, the session is shut down in order, so that nothing written is lost.
    """
    with appliance(acceleration, temporary) as guest:
        # unsafe: a build that dies starts anew, so no write needs to reach the disk before the last one.
        guest.command("add-drive", disk, f"format:{disk_format}", "cachemode:unsafe", "discard:enable")
        if archive:
            guest.command("add-drive", archive, "format:raw", "readonly:true")
        yield guest
        guest.command("umount-all")
        guest.command("shutdown")
