import asyncio
import signal

import pytest

from ci.boot import interruptible
from ci.host.errors import Interrupted


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_callback_still_cleans_up_and_interrupts(signum: signal.Signals) -> None:
    handler = signal.getsignal(signum)
    cleaned = []

    async def main() -> None:
        running = asyncio.get_running_loop()
        running.call_soon(signal.raise_signal, signum)
        try:
            await running.create_future()
        finally:
            signal.raise_signal(signum)  # an impatient person
            await asyncio.sleep(0)
            cleaned.append(True)

    with pytest.raises(Interrupted) as caught:
        interruptible.run(main())
    assert caught.value.exit_code == 128 + signum
    assert cleaned == [True]
    assert signal.getsignal(signum) is handler


def test_without_a_signal_it_returns_what_was_computed_or_raises_what_was_raised() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> None:
        raise ZeroDivisionError

    async def give_up() -> None:
        raise asyncio.CancelledError

    assert interruptible.run(answer()) == 42
    with pytest.raises(ZeroDivisionError):
        interruptible.run(fail())
    with pytest.raises(asyncio.CancelledError):
        interruptible.run(give_up())
