import asyncio
import socket
from pathlib import Path

import pytest

from ci.boot.boot import Boot, BootSettings, Ports, Scenario
from ci.host.accelerator import Acceleration, Accelerator


def test_ports_that_nobody_named_are_held_while_the_boot_lasts(tmp_path: Path) -> None:
    met: list[int] = []

    async def play(_boot: Boot, ports: Ports) -> None:
        for port in ports:
            with socket.socket() as somebody, pytest.raises(OSError, match="already in use"):
                somebody.bind(("127.0.0.1", port))
            met.append(port)

    scenario = Scenario(name="full", memory_mib=128, cpus=1, usual_seconds=1, play=play)
    settings = BootSettings(
        image=Path("image.qcow2"), acceleration=Acceleration(accelerator=Accelerator.TCG, reason="chosen")
    )
    asyncio.run(Boot(scenario=scenario, settings=settings, folder=tmp_path).run())
    assert len(set(met)) == 2
