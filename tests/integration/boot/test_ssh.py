"""The client against an SSH server of this process, which can be as difficult as a guest that is starting."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from ci.boot.vm import ssh
from ci.host.errors import BootError
from ci.host.process import held_port

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PASSWORD = "open sesame"  # noqa: S105 - of a server that lives for a second
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")


class Policy(asyncssh.SSHServer):
    """What the server lets in: `key` for anybody but root, after `refusals`; PASSWORD by the given methods."""

    key = ""
    password = False
    keyboard = False
    refusals = 0

    def begin_auth(self, username: str) -> bool:
        self._user = username
        return username != "nobody"

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if type(self).refusals > 0:
            type(self).refusals -= 1
            return False
        return username != "root" and key.export_public_key("openssh").decode().split()[1] == self.key.split()[1]

    def password_auth_supported(self) -> bool:
        return self.password

    def validate_password(self, username: str, password: str) -> bool:  # noqa: ARG002
        return password == PASSWORD

    def kbdint_auth_supported(self) -> bool:
        return self.keyboard

    def get_kbdint_challenge(
        self,
        username: str,  # noqa: ARG002
        lang: str,  # noqa: ARG002
        submethods: str,  # noqa: ARG002
    ) -> tuple[str, str, str, list[tuple[str, bool]]]:
        return "", "", "", [("Password: ", False)]

    def validate_kbdint_response(self, username: str, responses: Sequence[str]) -> bool:  # noqa: ARG002
        return list(responses) == [PASSWORD]


async def obey(process: asyncssh.SSHServerProcess[bytes]) -> None:
    match process.command:
        case "bytes":
            process.stdout.write(b"a\xff")
            process.stderr.write(b"oops")
            process.exit(3)
        case "killed":
            process.exit_with_signal("KILL")
        case "cut":
            process.channel.get_connection().abort()
        case _:
            await asyncio.sleep(600)


@asynccontextmanager
async def serving(**policy: object) -> AsyncIterator[int]:
    kind = type("ThisPolicy", (Policy,), policy)
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=kind, server_host_keys=[HOST_KEY], process_factory=obey, encoding=None
    )
    async with server:
        yield server.get_port()


@asynccontextmanager
async def in_front_of(port: int, *, hang_up: int, silent: int) -> AsyncIterator[int]:
    """A forwarder that at first hangs up on clients, then accepts and says nothing, and only then does its work."""
    met = 0

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        try:
            if met <= hang_up:
                return
            if met <= hang_up + silent:
                await reader.read()
                return
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer))
        finally:
            writer.close()

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    except OSError:
        pass
    finally:
        writer.close()


def test_a_guest_that_is_starting_is_tried_until_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "FIRST_GAP_SECONDS", 0.1)
    monkeypatch.setattr(ssh, "PAUSE_SECONDS", 0.01)
    key = ssh.new_key()

    async def main() -> None:
        async with (
            serving(key=key.public, refusals=2) as port,
            in_front_of(port, hang_up=3, silent=3) as front,
            await ssh.connect(front, "fountain", key) as session,
        ):
            assert session.host_key.split()[:2] == HOST_KEY.export_public_key("openssh").decode().split()[:2]

    monkeypatch.setattr(ssh, "DENIAL_PAUSE_SECONDS", 0.01)
    asyncio.run(main())


def test_a_connection_that_a_guest_may_still_answer_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What QEMU has accepted arrives in the guest, and costs it a process, whether anybody waits for it or not."""
    monkeypatch.setattr(ssh, "FIRST_GAP_SECONDS", 0.01)
    key = ssh.new_key()

    async def main() -> None:
        met: list[asyncio.StreamReader] = []
        given_up: list[bool] = []
        enough = asyncio.Event()

        async def starting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            met.append(reader)
            if len(met) == 4:
                given_up.extend(earlier.at_eof() for earlier in met)
                enough.set()
            if len(met) > 1:
                await reader.read()
                writer.close()
                return
            await enough.wait()
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", sshd)
            await asyncio.gather(pump(reader, back_writer), pump(back_reader, writer))

        async with (
            serving(key=key.public) as sshd,
            await asyncio.start_server(starting, "127.0.0.1", 0) as front,
            await ssh.connect(int(front.sockets[0].getsockname()[1]), "fountain", key),
        ):
            assert given_up == [False] * 4

    asyncio.run(main())


def test_a_port_where_nobody_listens_yet_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "PAUSE_SECONDS", 0.01)
    key = ssh.new_key()

    async def main(port: int) -> None:
        trying = asyncio.ensure_future(ssh.connect(port, "fountain", key))
        await asyncio.sleep(0.1)
        assert not trying.done()
        kind = type("ThisPolicy", (Policy,), {"key": key.public})
        server = await asyncssh.listen("127.0.0.1", port, server_factory=kind, server_host_keys=[HOST_KEY])
        async with server, await trying:
            pass

    with held_port() as port:
        asyncio.run(main(port))


def test_a_key_that_is_refused_for_good_ends_the_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "DENIAL_PAUSE_SECONDS", 0.01)

    async def main() -> None:
        async with serving(key=ssh.new_key().public) as port:
            await ssh.connect(port, "fountain", ssh.new_key(), denials=3)

    with pytest.raises(BootError, match="refused the key for fountain"):
        asyncio.run(main())


def test_what_the_server_lets_in_is_found_out_by_trying() -> None:
    key = ssh.new_key()

    async def main() -> None:
        async with serving(key=key.public) as strict:
            assert await ssh.offered_methods(strict, "fountain") == ("publickey",)
            assert await ssh.login_accepted(strict, "fountain", "publickey", key)
            assert not await ssh.login_accepted(strict, "fountain", "publickey", ssh.new_key())
            assert not await ssh.login_accepted(strict, "root", "publickey", key)
            assert not await ssh.login_accepted(strict, "fountain", "password", PASSWORD)
            assert not await ssh.login_accepted(strict, "fountain", "keyboard-interactive", PASSWORD)
        async with serving(key=key.public, password=True) as lax:
            assert "password" in await ssh.offered_methods(lax, "fountain")
            assert await ssh.login_accepted(lax, "fountain", "password", PASSWORD)
            assert not await ssh.login_accepted(lax, "fountain", "password", "wrong")
            assert not await ssh.login_accepted(lax, "fountain", "keyboard-interactive", PASSWORD)
        async with serving(key=key.public, keyboard=True) as lax:
            assert await ssh.login_accepted(lax, "fountain", "keyboard-interactive", PASSWORD)
            assert not await ssh.login_accepted(lax, "fountain", "keyboard-interactive", "wrong")
            assert not await ssh.login_accepted(lax, "fountain", "password", PASSWORD)

    asyncio.run(main())


def test_a_server_that_asks_for_nothing_counts_as_letting_in() -> None:
    async def main() -> None:
        async with serving() as port:
            assert await ssh.offered_methods(port, "nobody") == ("none",)
            assert await ssh.login_accepted(port, "nobody", "password", "whatever")

    asyncio.run(main())


def test_a_commands_end_is_told_whatever_it_is() -> None:
    key = ssh.new_key()

    async def main() -> None:
        async with serving(key=key.public) as port, await ssh.connect(port, "fountain", key) as session:
            done = await session.run("bytes", 10)
            assert (done.exit_status, done.stdout, done.stderr) == (3, "a\N{REPLACEMENT CHARACTER}", "oops")
            assert (await session.run("killed", 10)).exit_status == -9
            with pytest.raises(BootError, match="`sleep` did not end in the guest"):
                await session.run("sleep", 0.05)
            assert (await session.run("cut", 10)).exit_status < 0
            with pytest.raises(BootError, match="`bytes` could not be run in the guest"):
                await session.run("bytes", 10)

    asyncio.run(main())


def test_nothing_of_the_persons_own_settings_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".ssh"
    folder.mkdir()
    key = ssh.new_key()
    own = asyncssh.generate_private_key("ssh-ed25519")
    own.write_private_key(str(folder / "id_ed25519"))
    (folder / "config").write_text("Host *\n  User somebody\n  Port 1\n  PreferredAuthentications password\n")
    (folder / "known_hosts").write_text("garbage\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "no-agent"))

    async def main() -> None:
        async with serving(key=key.public) as port, await ssh.connect(port, "fountain", key):
            pass
        async with serving(key=own.export_public_key("openssh").decode(), password=True) as port:
            assert not await ssh.login_accepted(port, "fountain", "publickey", key)
            assert not await ssh.login_accepted(port, "fountain", "password", "wrong")

    asyncio.run(main())


def test_a_server_that_always_breaks_off_is_an_error_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "PAUSE_SECONDS", 0.01)

    async def greet_and_leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-short\r\n")
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(greet_and_leave, "127.0.0.1", 0)
        async with server:
            port = int(server.sockets[0].getsockname()[1])
            with pytest.raises(BootError, match="logging in as fountain with password"):
                await ssh.login_accepted(port, "fountain", "password", PASSWORD)

    asyncio.run(main())


def test_a_key_survives_being_written_down() -> None:
    key = ssh.new_key()
    again = ssh.load_key(key.private.export_private_key("openssh").decode())
    assert again.public == key.public
    assert key.public.startswith("ssh-ed25519 ")
    assert ssh.new_key().public != key.public
