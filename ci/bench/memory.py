"""Measure the least memory in which the image is of use, as Toolsmith starts it. Part of `python -m ci.bench`.

Of use is: it starts, lets in by SSH on port 3023, and Python, git and curl do some work there.
"""

from collections.abc import Callable, Sequence

from ci.bench.image import BenchedImage
from ci.bench.record import MemoryMeasurement, MemoryTrial
from ci.boot import interruptible
from ci.boot.vm import machine, ssh
from ci.boot.vm.qemu import ConsumerSpec
from ci.host.errors import BootError
from ci.host.process import held_port
from ci.host.progress import Reporter

USER = "fountain"
STEPS_MIB = tuple(range(64, 129, 8))
# In less memory than is enough a guest may swap for ever rather than end.
PATIENCE = 4
BOOT_SECONDS = 90
COMMAND_SECONDS = 30

WORK = (
    """python3 -c 'import json, sqlite3, ssl, urllib.request; print(json.dumps({"works": True}))'""",
    (
        "git init -q /tmp/work && cd /tmp/work && cp /etc/os-release . && git add . && "
        "git -c user.name=x -c user.email=x@localhost commit -q -m x && git fsck --strict"
    ),
    "curl -s -S file:///etc/os-release | grep -q ^ID=",
)


def measure_memory(bench: BenchedImage, boots: int, reporter: Reporter) -> MemoryMeasurement:
    """Find the least memory by bisection, then start there `boots` times: the floor is where all of them work."""
    key = ssh.load_key(bench.identity.read_text(encoding="utf-8"))
    trials: list[MemoryTrial] = []
    limit = bench.acceleration.scaled(BOOT_SECONDS)

    def works(mib: int) -> bool:
        with reporter.step(f"Start with {mib} MiB"):
            trials.append(try_with(bench, mib, key, limit if not trials else PATIENCE * slowest(trials)))
        reporter.note(f"         {trials[-1].outcome()}")
        return trials[-1].seconds is not None

    floor = never_failing(STEPS_MIB, works, boots)
    return MemoryMeasurement(floor_mib=floor, trials=trials)


def slowest(trials: Sequence[MemoryTrial]) -> float:
    """The seconds of the slowest trial that worked."""
    return max((trial.seconds for trial in trials if trial.seconds is not None), default=float(BOOT_SECONDS))


def never_failing(steps: Sequence[int], works: Callable[[int], bool], times: int) -> int | None:
    """The least of the ascending `steps` that works `times` times; None where not even the last does.

    What works with less is taken to work with more, so only the floor itself is tried more than once.
    """
    if not works(steps[-1]):
        return None
    low, high = 0, len(steps) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if works(steps[middle]) else (middle + 1, high)
    for step in steps[low:]:
        if all(works(step) for _ in range(times)):
            return step
    return None


def try_with(bench: BenchedImage, mib: int, key: ssh.Key, limit: float) -> MemoryTrial:
    """One start; its seconds are to the end of the last command."""
    logs = bench.folder / "memory"
    workspace = logs / "workspace"
    workspace.mkdir(parents=True, exist_ok=True)
    with held_port() as port:
        spec = ConsumerSpec(image=bench.image, workspace=workspace, host_port=port, memory_mib=mib)
        try:
            return MemoryTrial(mib=mib, seconds=round(interruptible.run(_work(bench, spec, key, limit)), 2))
        except BootError as error:
            return MemoryTrial(mib=mib, seconds=None, failure=error.message)


async def _work(bench: BenchedImage, spec: ConsumerSpec, key: ssh.Key, limit: float) -> float:
    async with machine.start(spec, bench.acceleration, bench.folder / "memory") as running:
        session = await running.until(ssh.connect(spec.host_port, USER, key), limit, f"a login as {USER}")
        async with session:
            for command in WORK:
                patience = bench.acceleration.scaled(COMMAND_SECONDS)
                done = await running.until(session.run(command, patience), patience, "the end of a command")
                if done.exit_status != 0:
                    words = done.stderr.strip().rpartition("\n")[2] or f"exit status {done.exit_status}"
                    raise BootError(f"`{command.split()[0]}` failed: {words}")
            return running.elapsed()
