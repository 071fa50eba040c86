"""Where the time of a start went: the loader, the kernel, and the units that matter."""

import contextlib
import re
from collections.abc import Iterator

from ci.boot.boot import Guest
from ci.host.errors import BootError
from ci.records.validation import BootResult, StartPart
from ci.text.bars import Bars, draw_bars, time_bars
from ci.text.figures import seconds

TIMES = "InactiveExitTimestampMonotonic,ActiveEnterTimestampMonotonic"
# The time comes last: to list the units takes the guest 6 s without KVM, and 40 s on a busy machine; what it says after
# that is here at once.
COMMAND = (
    "systemctl show --property=UserspaceTimestampMonotonic; echo; "
    f"systemctl show --all --property=Id,{TIMES} '*.service' '*.mount' '*.swap'; cat /proc/uptime"
)
LOADER, KERNEL, LOGIN = "firmware and boot loader", "kernel and initramfs", "ssh.service"
MOST_UNITS = 10
SHORTEST = 0.05  # a second's twentieth shows as nothing
SLACK = 1.0  # seconds between what the guest said, and when it was here
_NUMBER = re.compile(r"\d{1,12}", re.ASCII)
_UNIT = re.compile(r"[\w@:.\\-]{1,120}", re.ASCII)


async def look_at_start(guest: Guest) -> tuple[StartPart, ...]:
    """Ask the guest. It is an extra: where it does not tell, there is nothing, and no failure."""
    with contextlib.suppress(BootError):
        answer = await guest.machine.until(guest.run(COMMAND), guest.boot.limit(), "the times of the start")
        return parts(answer.stdout, guest.machine.elapsed(), guest.boot.ssh_seconds)
    return ()


def parts(said: str, elapsed: float, login_seconds: float | None) -> tuple[StartPart, ...]:
    """What the guest said when `elapsed` seconds had gone since QEMU's start; () where that makes no sense.

    The kernel's clock begins when the loader has done its work. Without KVM, on a machine that is busy beyond measure,
    it stands still at times, or runs too fast: its times count only where it is not ahead of ours, and sshd was ready
    before the login at `login_seconds`. That may be long before it. Units matter that take long before that.
    """
    listed, _, uptime = said.rstrip().rpartition("\n")
    if not re.fullmatch(r"\d{1,9}\.\d+ \S+", uptime, re.ASCII):
        return ()
    loader = elapsed - float(uptime.split()[0])
    start, *blocks = (dict(line.partition("=")[::2] for line in text.splitlines()) for text in listed.split("\n\n"))
    userspace = _time(start.get("UserspaceTimestampMonotonic"))
    if userspace is None or loader < -SLACK:
        return ()
    loader = max(loader, 0.0)
    units = {part.name: part for block in blocks for part in _unit(block, loader)}
    login = units.get(LOGIN)
    if login and login_seconds and login.begin + login.seconds > login_seconds + SLACK:
        return ()
    noticed = (part for part in units.values() if part.seconds >= SHORTEST or part is login)
    before = [part for part in noticed if login is None or part.begin <= login.begin]
    chosen = sorted(before, key=lambda part: (part.name != LOGIN, -part.seconds, part.name))[:MOST_UNITS]
    return (
        StartPart(name=LOADER, begin=0.0, seconds=loader),
        StartPart(name=KERNEL, begin=loader, seconds=userspace),
        *sorted(chosen, key=lambda part: (part.begin, part.name)),
    )


def _unit(block: dict[str, str], loader: float) -> Iterator[StartPart]:
    name, begin, end = block.get("Id", ""), *map(_time, map(block.get, TIMES.split(",")))
    if _UNIT.fullmatch(name) and begin and end and begin <= end:
        yield StartPart(name=name, begin=loader + begin, seconds=end - begin)


def _time(microseconds: str | None) -> float | None:
    return int(microseconds) / 1e6 if microseconds and _NUMBER.fullmatch(microseconds) else None


def draw_start(boot: BootResult, accelerator: str) -> str:
    """The picture of a start as SVG."""
    bars = time_bars((part.name, part.begin, part.seconds) for part in boot.start)
    login = "no SSH" if boot.ssh_seconds is None else f"SSH after {seconds(boot.ssh_seconds)}"
    return draw_bars(f"Start, {login}, with {accelerator}", [Bars(f"Boot {boot.name}", bars)], alone=True)
