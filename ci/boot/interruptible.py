"""What asyncio lacks for us: `asyncio.run` for entrypoints that may be interrupted, and tasks that fail as one."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from ci.host.errors import Interrupted
from ci.host.files import interrupting

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end. What interrupts us cancels it, so that its blocks clean up, and then raise Interrupted.

    A handler that raises would do so in whatever callback is running, and the loop swallows what callbacks raise.
    """
    return asyncio.run(_interruptible(main))


async def together(*tasks: Coroutine[Any, Any, None]) -> None:
    """Run all to their end. The first that fails ends the others, and its error is ours, not a group that holds it."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


async def _interruptible(main: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    arrived: list[int] = []

    def interrupt(signum: int) -> None:
        if not arrived:  # a second signal must not break the clean-up that the first one started
            task.cancel()
        arrived.append(signum)

    before = {signum: signal.getsignal(signum) for signum in interrupting()}
    for signum in before:
        loop.add_signal_handler(signum, interrupt, signum)
    try:
        return await task
    except asyncio.CancelledError:
        if arrived:
            raise Interrupted(arrived[0]) from None
        raise
    finally:
        for signum, handler in before.items():
            loop.remove_signal_handler(signum)
            signal.signal(signum, handler)
