"""A whole guest: an image with a seed, through SSH to its shutdown, in one boot because it takes a minute."""

import asyncio
import json
import struct
import zlib
from pathlib import Path

import pytest

from ci.boot.vm.machine import Shutdown, start
from ci.boot.vm.qemu import SSH_PORT, MachineSpec
from ci.boot.vm.seed import make_seed
from ci.boot.vm.ssh import (
    Key,
    connect,
    login_accepted,
    new_key,
    offered_methods,
)
from ci.host.accelerator import probe
from ci.host.errors import BootError
from ci.host.files import sha256_file
from ci.host.process import held_port
from tests.support.building import Built

# By day test_ssh.py and test_machine.py ask the same of small guests, and the boots of the release in
# workflows/test_real_release.py are of whole ones, one with a seed.
pytestmark = [pytest.mark.integration, pytest.mark.full, pytest.mark.timeout(900)]

PASSWORD = "open sesame"  # noqa: S105 - of a guest that lives for a minute


def seed_for(folder: Path, key: Key) -> Path:
    settings = {
        "hostname": "seeded",
        "write_files": [{"path": "/etc/seed-marker", "content": 'it\'s: "quoted"\n'}],
        "users": [
            {
                "name": "tester",
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "ssh_authorized_keys": [key.public],
            }
        ],
    }
    return make_seed(folder, f"#cloud-config\n{json.dumps(settings)}\n", instance="i-1")


def test_a_seeded_guest_is_used_over_ssh_and_powers_itself_off(built: Built, tmp_path: Path) -> None:
    acceleration = probe("auto")
    before = sha256_file(built.image)
    key = new_key()
    seed = seed_for(tmp_path, key)

    async def main(port: int) -> Shutdown:
        spec = MachineSpec(
            image=built.image,
            cpus=2,
            seed=seed,
            forwards={port: SSH_PORT},
        )
        async with start(spec, acceleration, tmp_path) as machine:
            limit = acceleration.scaled(60)
            session = await machine.until(connect(port, "tester", key), limit, "a login by SSH")
            async with session:
                assert machine.elapsed() < limit
                change = await session.run(f"echo 'tester:{PASSWORD}' | sudo chpasswd", acceleration.scaled(10))
                assert change.exit_status == 0, change.stderr
                await try_to_log_in(port, key)
                await machine.screenshot(tmp_path / "screen.png")
                prompted = await machine.login_prompt(limit)
                assert 0 < prompted < machine.elapsed()
                hostname = await session.run("hostname; cat /etc/seed-marker; exit 3", acceleration.scaled(10))
                assert (hostname.exit_status, hostname.stdout) == (3, 'seeded\nit\'s: "quoted"\n')
                bad = await session.run(r"printf '\377' ; echo oops >&2; kill -9 $$", acceleration.scaled(10))
                assert (bad.exit_status, bad.stdout, bad.stderr) == (-9, "\N{REPLACEMENT CHARACTER}", "oops\n")
                with pytest.raises(BootError, match="`sleep 60` did not end"):
                    await session.run("sleep 60", 0.1)
                assert session.host_key.startswith("ssh-")
                await session.run("sudo shutdown now", acceleration.scaled(10))
                return await machine.powered_off(acceleration.scaled(30))

    with held_port() as port:
        assert asyncio.run(main(port)) == Shutdown(reason="guest-shutdown", exit_code=0)
    assert len(distinct_bytes(tmp_path / "screen.png")) > 2
    assert b"seeded login:" in (tmp_path / "console.log").read_bytes()
    assert sha256_file(built.image) == before


async def try_to_log_in(port: int, key: Key) -> None:
    # The image lets only keys in; that a password can be accepted is shown in test_ssh.py.
    assert await offered_methods(port, "tester") == ("publickey",)
    assert not await login_accepted(port, "tester", "password", "wrong")
    assert not await login_accepted(port, "tester", "keyboard-interactive", PASSWORD)
    assert await login_accepted(port, "tester", "publickey", key)
    assert not await login_accepted(port, "tester", "publickey", new_key())
    assert not await login_accepted(port, "root", "publickey", key)
    with pytest.raises(BootError, match="refused the key for tester"):
        await connect(port, "tester", new_key(), denials=2)


def distinct_bytes(png: Path) -> set[int]:
    """The values in a PNG's pixels: text on black has several, an empty screen has one and the filter bytes."""
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, packed = 8, b""
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    return set(zlib.decompress(packed))
