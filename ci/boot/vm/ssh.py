"""SSH into the guest, with keys that are never on a disk and with no settings of the person who runs it."""

import asyncio
import contextlib
import errno
import os
import shlex
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncssh

from ci.boot.vm.qemu import LOOPBACK
from ci.host.errors import BootError

PAUSE_SECONDS = 0.25
# QEMU accepts a connection long before the guest does, and offers it there at once, after 6 s and 18 s, and every 12 s
# after that, for 75 s. Closed here meanwhile, it arrives all the same and costs the guest a process of sshd's: few are
# made, and none is given up. https://gitlab.freedesktop.org/slirp/libslirp/-/blob/v4.7.0/src/tcp_timer.h (TCPTV_)
FIRST_GAP_SECONDS = 2.5
LAST_GAP_SECONDS = 10.0
GAP_SHARE = 1 / 3
HANDSHAKE_SECONDS = 60.0
# While a guest starts, pam_nologin refuses everybody; see pam_nologin(8) and systemd-user-sessions.service(8).
ATTEMPTS = 5
DENIALS = 10
DENIAL_PAUSE_SECONDS = 1.0

TRANSIENT: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT})
CONNECTION_LOST = -1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair in memory."""

    private: asyncssh.SSHKey

    @property
    def public(self) -> str:
        """Its line for authorized_keys."""
        return self.private.export_public_key("openssh").decode().strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """A command that ended. `exit_status` is negative where a signal ended it, or the connection did."""

    exit_status: int
    stdout: str
    stderr: str
    seconds: float


def command_line(user: str, port: int, identity: Path) -> str:
    """What a person types to log in. No host key is kept: a guest has a new one at every start."""
    options = ("IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
    argv = ["ssh", "-i", os.fspath(identity), "-p", str(port), *(word for one in options for word in ("-o", one))]
    return shlex.join([*argv, f"{user}@{LOOPBACK}"])


class Session(contextlib.AbstractAsyncContextManager["Session"]):
    """A logged-in connection. `host_key` is the server's, as a line of authorized_keys."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        key = connection.get_server_host_key()
        self.host_key = key.export_public_key("openssh").decode().strip() if key else ""

    async def run(self, command: str, seconds: float) -> CommandResult:
        """Run a shell command to its end; raises BootError after `seconds`, or when no command can be run."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                done = await self._connection.run(
                    command, check=False, encoding="utf-8", errors="replace", stdin=asyncssh.DEVNULL
                )
        except TimeoutError:
            raise BootError(f"`{command}` did not end in the guest within {seconds:.0f} s") from None
        except (asyncssh.Error, OSError) as error:
            raise BootError(f"`{command}` could not be run in the guest: {error}") from error
        return CommandResult(
            exit_status=CONNECTION_LOST if done.returncode is None else done.returncode,
            stdout=str(done.stdout or ""),
            stderr=str(done.stderr or ""),
            seconds=time.monotonic() - started,
        )

    async def __aexit__(self, *_: object) -> None:
        """End the connection; one that is broken already is no error."""
        self._connection.abort()
        with contextlib.suppress(asyncssh.Error, OSError):
            await self._connection.wait_closed()


def new_key() -> Key:
    """Make a key pair."""
    return Key(asyncssh.generate_private_key("ssh-ed25519", comment="toolsmith-boot-test"))


def load_key(text: str) -> Key:
    """A key pair from the text of a private key file that has no passphrase; raises asyncssh.KeyImportError."""
    return Key(asyncssh.import_private_key(text))


async def connect(port: int, user: str, key: Key, *, denials: int = DENIALS) -> Session:
    """Log in, trying for as long as nobody stops it: the server may not be up yet.

    Raises BootError when the server has refused the key `denials` times.
    """
    while True:
        try:
            return Session(await _open(port, user, "publickey", key))
        except asyncssh.PermissionDenied as error:
            denials -= 1
            if denials <= 0:
                raise BootError(
                    f"the guest refused the key for {user}: {error.reason}",
                    hint=f"Look at ~{user}/.ssh/authorized_keys in the guest (owner, mode) and at sshd's log.",
                ) from error
            await asyncio.sleep(DENIAL_PAUSE_SECONDS)
        except (asyncssh.Error, OSError) as error:
            if isinstance(error, OSError) and error.errno not in TRANSIENT and not isinstance(error, TimeoutError):
                raise
            await asyncio.sleep(PAUSE_SECONDS)


async def offered_methods(port: int, user: str) -> tuple[str, ...]:
    """The authentication methods the server offers to `user`, before any was tried; `none` where it asks for none."""

    async def ask() -> tuple[str, ...]:
        sock = await _greeted(port)
        with contextlib.closing(sock):
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                return tuple(await asyncssh.get_server_auth_methods(sock=sock, username=user, config=None))

    return await _persistently(ask, f"asking for the authentication methods of {user}")


async def login_accepted(port: int, user: str, method: str, secret: Key | str) -> bool:
    """Whether `user` can log in by `method` (its name in SSH) with a key or a password. It is really tried."""

    async def log_in() -> bool:
        try:
            async with Session(await _open(port, user, method, secret)):
                return True
        except asyncssh.PermissionDenied:
            return False

    return await _persistently(log_in, f"logging in as {user} with {method}")


def error_in_words(error: Exception) -> str:
    """What a broken connection said, if it said anything."""
    return str(error) or "the connection broke"


async def _persistently(attempt: Callable[[], Coroutine[Any, Any, T]], what: str) -> T:
    """The outcome of an attempt that has one: a broken connection is none, and is tried again a few times."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return await attempt()
        except (asyncssh.Error, OSError) as error:
            if left == 0:
                raise BootError(f"{what}: {error_in_words(error)}", hint="Look at sshd's log.") from error
            await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError("the last attempt returns or raises")


async def _open(port: int, user: str, method: str, secret: Key | str) -> asyncssh.SSHClientConnection:
    sock = await _greeted(port)
    try:
        return await asyncssh.connect(
            sock=sock,
            username=user,
            # The guest's host keys are new at every start; callers compare them. Nothing of the person's is used.
            known_hosts=None,
            config=None,
            agent_path=None,
            gss_auth=False,
            gss_kex=False,
            connect_timeout=HANDSHAKE_SECONDS,
            preferred_auth=method,
            client_keys=[secret.private] if isinstance(secret, Key) else None,
            password=secret if isinstance(secret, str) else None,
        )
    except BaseException:
        sock.close()
        raise


def gap_after(seconds: float) -> float:
    """After so many seconds without a greeting, the seconds until another connection is begun."""
    return min(max(FIRST_GAP_SECONDS, seconds * GAP_SHARE), LAST_GAP_SECONDS)


async def _greeted(port: int) -> socket.socket:
    """A connection on which a server has begun to speak: the first of several, of which new ones come ever slower."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    tries: set[asyncio.Task[socket.socket | None]] = set()
    try:
        while True:
            tries.add(loop.create_task(_greeting(port)))
            gap = gap_after(loop.time() - begin)
            done, tries = await asyncio.wait(tries, timeout=gap, return_when=asyncio.FIRST_COMPLETED)
            for ended in done:
                if greeted := ended.result():
                    tries |= done - {ended}
                    return greeted
            if done:
                await asyncio.sleep(PAUSE_SECONDS)
    finally:
        for attempt in tries:
            attempt.cancel()
        for outcome in await asyncio.gather(*tries, return_exceptions=True):
            if isinstance(outcome, socket.socket):
                outcome.close()


async def _greeting(port: int) -> socket.socket | None:
    """A connection once its server speaks; None where there is no server, or it hangs up."""
    with contextlib.ExitStack() as unless_greeted:
        sock = unless_greeted.enter_context(socket.socket())
        sock.settimeout(0)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (LOOPBACK, port))
            if await _peek(sock):
                unless_greeted.pop_all()
                return sock
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
    return None


async def _peek(sock: socket.socket) -> bytes:
    """The first byte that arrives, which stays there to be read; b'' when the other side hangs up."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)
    return sock.recv(1, socket.MSG_PEEK)
