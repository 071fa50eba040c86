"""The machine's `ssh`, led into the guest through a channel of QEMU's: no port is open, to nobody.

The channel's socket is in a folder that nobody else may enter, and behind it is our own guest: there is no other whose
host key could be taken for its, so none is looked at. One connection stays open, and every command is a channel of it.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

USER = "fountain"
WORKSPACE_TAG = "work"
# The socket of QEMU's that leads to the guest's channel, and that one's name there.
LOGIN, LOGIN_CHANNEL = "login", "toolsmith.login"
HOST = "toolsmith"  # for ssh's own messages
CONTROL, KEY = "control", "key"
# A guest that is stopped for so long, such as while this machine sleeps without its clock, is given up.
ALIVE_SECONDS, ALIVE_COUNT = 60, 9

# Connects to a socket and hands it over to ssh, which has no proxy in its way then (ssh_config(5), ProxyUseFdpass).
PROXY = (
    "import socket, sys; channel = socket.socket(socket.AF_UNIX); channel.connect(sys.argv[1]); "
    "socket.send_fds(socket.socket(fileno=1), [b'.'], [channel.fileno()])"
)
# What systemd ends a service with whose input it cannot open: systemd.exec(5).
EXIT_STDIN = 208
# ssh starts its proxy with the user's shell, which may be a strange one.
ENVIRONMENT = {"SHELL": "/bin/sh"}


def keygen(file: Path, comment: str) -> list[str]:
    """What makes a key pair without a passphrase: `file`, and its .pub."""
    return ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", os.fspath(file)]


def connect(folder: Path) -> list[str]:
    """What logs in, as soon as it is let in, goes into the background then, and leaves the way in at `folder`."""
    proxy = shlex.join([sys.executable, "-I", "-S", "-c", PROXY, os.fspath(folder / LOGIN)])
    options = {
        "ProxyCommand": _escaped(proxy), "ProxyUseFdpass": "yes", "KexAlgorithms": "curve25519-sha256",
        "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes", "IdentityAgent": "none", "PreferredAuthentications": "publickey", "BatchMode": "yes",
        "ServerAliveInterval": str(ALIVE_SECONDS), "ServerAliveCountMax": str(ALIVE_COUNT),
    }  # fmt: skip
    return [*_ssh(folder), "-M", "-N", "-f", "-i", os.fspath(folder / KEY), *_options(options), HOST]


def serve(exports: Sequence[str]) -> list[str]:
    """What root runs in the guest to let the connection in, which may write to what is mounted of `exports`.

    It is a unit of its own, so that it does not end with the agent. It waits for the shares and the host key, as
    ssh.service does, for the channel, and for nothing of what an image starts after that. Where an earlier connection
    still has the channel, it tries again.
    """
    channel = f"/dev/virtio-ports/{LOGIN_CHANNEL}"
    # systemd-run takes one backslash away.
    device = rf"dev-virtio\\x2dports-{LOGIN_CHANNEL}.device"
    served = ["/usr/sbin/sshd", "-i"]
    if exports:
        folders = " ".join(f"/mnt/{tag}" for tag in exports)
        served = ["/bin/sh", "-c", f"chown {USER}: {folders}; exec {shlex.join(served)}"]
    # fmt: off
    return [
        "/usr/bin/systemd-run", "--quiet", "--collect", "--no-block",
        "--property=DefaultDependencies=no", f"--property=Wants={device}",
        f"--property=After={device} fountainkit-shares.service ssh.service",
        f"--property=RestartForceExitStatus={EXIT_STDIN}", "--property=RestartSec=2",
        "--property=OOMPolicy=continue", "--property=CPUWeight=1000",  # as ssh.service has it
        f"--property=StandardInput=file:{channel}", f"--property=StandardOutput=file:{channel}",
        "--property=StandardError=journal", "--", *served,
    ]
    # fmt: on


def command(folder: Path, argv: Sequence[str], *, terminal: bool) -> list[str]:
    """What runs a command in the workspace over the open connection."""
    # Where that is gone there is no other way: none is looked for.
    return [*_ssh(folder), *_options({"ProxyCommand": "exit 1"}), "-t" if terminal else "-T", HOST, remote(argv)]


def in_terminal() -> bool:
    """Whether a command is to have a terminal: where it has one to read from and to write to."""
    return os.isatty(0) and os.isatty(1)


def check(folder: Path) -> list[str]:
    """What tells whether the connection is open."""
    return [*_ssh(folder), "-O", "check", HOST]


def remote(argv: Sequence[str]) -> str:
    """A line for the guest's shell that runs `argv` exactly as it is; nothing, for a shell to log in with.

    Every word is quoted, so that `if`, `a=b` and `~` are nothing but names. The shell stays, and waits: a command that
    a signal ended has the exit code that shells give it, 128 and the signal, which SSH has none for.
    """
    if not argv:
        return f'cd /mnt/{WORKSPACE_TAG}; exec "$SHELL" -l'
    words = " ".join("'" + word.replace("'", "'\"'\"'") + "'" for word in argv)
    return f"cd /mnt/{WORKSPACE_TAG} && {{ trap : INT QUIT; (exec -- {words}); exit; }}"


def _ssh(folder: Path) -> list[str]:
    return [
        "ssh", "-F", "none", "-S", _escaped(os.fspath(folder / CONTROL)), "-l", USER, "-a", "-x",
        *_options({"LogLevel": "ERROR", "ClearAllForwardings": "yes"}),
    ]  # fmt: skip


def _options(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
