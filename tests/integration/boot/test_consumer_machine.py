"""The image as Toolsmith has it: its own command line, in QEMU's default memory, with many commands."""

import asyncio
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from ci.boot import interruptible
from ci.boot.boot import BOOT_SECONDS
from ci.boot.checks.load import CHECKS
from ci.boot.vm import ssh
from ci.boot.vm.machine import start
from ci.boot.vm.qemu import ConsumerSpec
from ci.host.accelerator import Acceleration
from ci.host.process import held_port, run
from ci.machine.ssh import USER
from tests.support.building import Built
from tests.support.documented import SafeSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

CONNECTIONS = 50
ATTEMPTS = 3  # as `ssh -o ConnectionAttempts=3`
LARGER_MIB = 1024
# What 128 MiB hold at a time: docs/consuming.md.
CONNECTIONS_IN_LITTLE = 10
# A piece at a time: all at once would be refused, and nobody killed.
GREEDY = "python3 -c '[b\"x\" * (1 << 20) for _ in range(4096)]'"
# As root: SSH is there before D-Bus, through which everybody else asks systemd.
SSH_DAEMON = "sudo -n systemctl show --property=MainPID --value ssh.service"
# Limits in seconds for a machine with KVM.
COMMAND_SECONDS = 30
MANY_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """The consumer's machine, logged into."""

    session: ssh.Session
    port: int
    key: ssh.Key
    workspace: Path
    export: Path
    acceleration: Acceleration

    async def run(self, command: str, seconds: float = COMMAND_SECONDS) -> str:
        """The output of a command that must succeed without a word on stderr."""
        done = await self.session.run(command, self.acceleration.scaled(seconds))
        assert (done.exit_status, done.stderr) == (0, ""), command
        return done.stdout


@asynccontextmanager
async def machine_of(
    built: Built, acceleration: Acceleration, folder: Path, memory_mib: int | None = None
) -> AsyncIterator[Consumer]:
    """Toolsmith's machine in so much memory; without, the safe one of the docs, which has QEMU's default."""
    workspace, export = folder / "workspace", folder / "export"
    workspace.mkdir()
    (workspace / "private").write_text("for one user", encoding="utf-8")  # sshd says so, if it is there at the start
    (workspace / "private").chmod(0o600)
    export.mkdir()
    export.chmod(0o777)
    key = ssh.load_key(built.identity.read_text(encoding="utf-8"))
    with held_port() as port:
        spec: ConsumerSpec = SafeSpec(image=built.image, workspace=workspace, out=export, host_port=port)
        if memory_mib:
            spec = ConsumerSpec(image=built.image, workspace=workspace, host_port=port, memory_mib=memory_mib)
        async with start(spec, acceleration, folder) as running:
            limit = acceleration.scaled(BOOT_SECONDS)
            async with await running.until(ssh.connect(port, USER, key), limit, "a login") as session:
                yield Consumer(
                    session=session, port=port, key=key, workspace=workspace, export=export, acceleration=acceleration
                )


# One start each for what is asked of a machine of that size: a start costs more than most of the questions. Toolsmith's
# own command line in that memory is what boots `consumer` of the boot test.
@pytest.mark.parametrize(("commands", "mib"), [(200, 256), pytest.param(1000, 1024, marks=pytest.mark.full)])
def test_the_safe_machine_of_the_docs_keeps_the_guest_in_and_loses_no_command_no_connection_and_no_byte(
    commands: int, mib: int, built: Built, acceleration: Acceleration, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with machine_of(built, acceleration, tmp_path) as consumer:
            await kept_in(consumer)
            await names_of_files(consumer)
            await writing(consumer)
            await large_file(consumer, mib)
            await many_commands(consumer, commands)
            await many_connections(consumer, CONNECTIONS_IN_LITTLE)
            assert await killed_for_memory(consumer) == ""
            await nothing_weak(consumer)

    interruptible.run(scenario())


def test_a_larger_machine_serves_many_at_once_and_survives_a_greedy_command(
    built: Built, acceleration: Acceleration, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with machine_of(built, acceleration, tmp_path, LARGER_MIB) as consumer:
            await many_connections(consumer, CONNECTIONS)
            assert await killed_for_memory(consumer) == ""
            daemon = await consumer.run(SSH_DAEMON)
            greedy = await consumer.session.run(GREEDY, acceleration.scaled(MANY_SECONDS))
            assert greedy.exit_status != 0
            assert await killed_for_memory(consumer) != ""
            assert await consumer.run(SSH_DAEMON) == daemon

    interruptible.run(scenario())


async def kept_in(consumer: Consumer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as loopback:
        knock = f"echo >/dev/tcp/10.0.2.2/{loopback.getsockname()[1]}"
        set_id = "cp /usr/bin/id /mnt/out/id && chmod 4755 /mnt/out/id"
        for command, answer in {
            f"timeout 5 bash -c '{knock}' 2>/dev/null || echo closed": "closed",
            "touch /mnt/work/new 2>/dev/null || echo read-only": "read-only",
            f"sudo -n sh -c '{set_id}' && stat -c %a /mnt/out/id": "4755",
            "sudo -n cat /mnt/work/private": "for one user",
        }.items():
            assert (await consumer.run(command)).strip() == answer, command
    assert (consumer.export / "id").stat().st_mode & 0o7000 == 0


async def nothing_weak(consumer: Consumer) -> None:
    # Another client: the banner is for whoever logs in.
    audit = run(
        [sys.executable, "-m", "ssh_audit.ssh_audit", "--port", str(consumer.port), "--level", "fail", "127.0.0.1"],
        timeout=consumer.acceleration.scaled(BOOT_SECONDS), ok=(0, 1, 2, 3),
    )  # fmt: skip
    assert (audit.returncode in (0, 2), "[fail]" in audit.stdout) == (True, False), audit.stdout
    banner = await told_before_login(consumer.port, consumer.key)
    assert "/mnt/work" in banner
    assert "sudo" in banner


async def told_before_login(port: int, key: ssh.Key) -> str:
    """What sshd says to whoever logs in."""

    class Listener(asyncssh.SSHClient):
        told = ""

        def auth_banner_received(self, msg: str, lang: str) -> None:  # noqa: ARG002
            type(self).told += msg

    connection, _ = await asyncssh.create_connection(
        Listener, "127.0.0.1", port, username=USER, client_keys=[key.private], known_hosts=None, config=None,
        agent_path=None,
    )  # fmt: skip
    connection.close()
    await connection.wait_closed()
    return Listener.told


async def killed_for_memory(consumer: Consumer) -> str:
    return await consumer.run(CHECKS["no-oom-kill"].shell_line())


async def many_commands(consumer: Consumer, commands: int) -> None:
    for number in range(commands):
        assert await consumer.run(f"echo {number}") == f"{number}\n"


async def many_connections(consumer: Consumer, connections: int) -> None:
    """As many at a time: each says its own word when all are in."""
    limit = consumer.acceleration.scaled(MANY_SECONDS)
    barrier = asyncio.Barrier(connections)

    async def connection(number: int) -> str:
        session = await opened(consumer, limit)
        try:
            await barrier.wait()
            return str((await session.run(f"echo {number}", check=True)).stdout)
        finally:
            session.close()
            await session.wait_closed()

    async with asyncio.timeout(limit):
        answers = await asyncio.gather(*(connection(number) for number in range(connections)))
    assert answers == [f"{number}\n" for number in range(connections)]


async def opened(consumer: Consumer, limit: float) -> asyncssh.SSHClientConnection:
    for attempt in range(ATTEMPTS):
        try:
            # `ssh.connect` would ask a machine that still starts again and again.
            return await asyncssh.connect(
                "127.0.0.1", consumer.port, username=USER, client_keys=[consumer.key.private], known_hosts=None,
                config=None, agent_path=None, connect_timeout=limit, login_timeout=limit,
            )  # fmt: skip
        except ConnectionResetError:
            # Not the guest's doing: QEMU's user network listens with a backlog of one, so that the host's kernel
            # answers most of a burst with SYN cookies, and resets a connection whose cookie it no longer knows.
            # `ss -ltn` shows the backlog; set in https://gitlab.freedesktop.org/slirp/libslirp/-/blob/v4.7.0/src/socket.c
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


async def large_file(consumer: Consumer, mib: int) -> None:
    """It does not fit into the memory."""
    digest = hashlib.sha256()
    with (consumer.workspace / "large").open("wb") as file:
        for _ in range(64):
            block = os.urandom(1 << 20) * (mib // 64)
            file.write(block)
            digest.update(block)
    seen = await consumer.run("sha256sum /mnt/work/large", MANY_SECONDS)
    assert seen == f"{digest.hexdigest()}  /mnt/work/large\n"


async def names_of_files(consumer: Consumer) -> None:
    for name in ("two words", "naïve ☃", "-dash", "tab\tand 'quotes\"", "n" * 255):
        (consumer.workspace / name).write_text(name, encoding="utf-8")
    listed = await consumer.run("cd /mnt/work && for name in *; do printf '%s\\0' \"$name\"; done")
    assert sorted(listed.split("\0")[:-1]) == sorted(path.name for path in consumer.workspace.iterdir())
    assert await consumer.run("cd /mnt/work && cat './naïve ☃' ./-dash") == "naïve ☃-dash"


async def writing(consumer: Consumer) -> None:
    await consumer.run("cd /mnt/out && mkdir 'a folder' && head -c 3000000 /dev/zero >'a folder/ünï' && sync")
    assert (consumer.export / "a folder" / "ünï").read_bytes() == bytes(3_000_000)
