"""Measure the least memory in which the image is of use, as Toolsmith starts it. Part of `toolsmith-image bench`.

Of use is: it starts, lets in by SSH on port 3023, and Python, git and curl do some work there.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from ci.bench.boots import consumer_spec, start_to_command
from ci.bench.builds import BenchSubject, our_image
from ci.bench.record import Bounded, MeasuredPart
from ci.host.errors import BootError
from ci.host.progress import Reporter
from ci.text import figures

STEPS_MIB = tuple(range(64, 129, 8))
# In less memory than is enough a guest may swap for ever rather than end.
PATIENCE = 4

WORK = (
    """python3 -c 'import json, sqlite3, ssl, urllib.request; print(json.dumps({"works": True}))'""",
    (
        "git init -q /tmp/work && cd /tmp/work && cp /etc/os-release . && git add . && "
        "git -c user.name=x -c user.email=x@localhost commit -q -m x && git fsck --strict"
    ),
    "curl -s -S file:///etc/os-release | grep -q ^ID=",
)


def measure_memory(subject: BenchSubject, boots: int, reporter: Reporter) -> MeasuredPart:
    """Find the least memory by bisection, then start there `boots` times: the floor is where all of them work."""
    image = our_image(subject, reporter)
    took: list[float] = []
    trials: list[str] = []

    def works(mib: int) -> bool:
        limit = PATIENCE * max(took) if took else None
        with reporter.step(f"Start with {mib} MiB"):
            try:
                took.append(start_to_command(subject, consumer_spec(subject, image, mib), *WORK, limit=limit))
                failure = ""
            except BootError as error:
                failure = error.message
        trials.append(f"{mib} MiB: {failure or figures.seconds(took[-1])}")
        reporter.note(f"         {trials[-1]}")
        return not failure

    row = Bounded(what="least memory", unit="MiB", ours=never_failing(STEPS_MIB, works, boots), target=STEPS_MIB[-1])
    note = f"Starts with less and less memory, to the end of some work with Python, git and curl: {'; '.join(trials)}."
    return MeasuredPart(rows=[row], notes=(note,))


def never_failing(steps: Sequence[int], works: Callable[[int], bool], times: int) -> int | None:
    """The least of the ascending `steps` that works `times` times; None where not even the last does.

    What works with less is taken to work with more, so only the floor itself is tried more than once.
    """
    if not works(steps[-1]):
        return None
    floor = bisect_left(steps, x=True, hi=len(steps) - 1, key=works)
    return next((step for step in steps[floor:] if all(works(step) for _ in range(times))), None)
