"""Throw-away OpenPGP keys, and what they sign, by real gpg."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ci.host import process


@contextmanager
def key_folder() -> Iterator[Path]:
    """Where keys are made, each in a folder of its own."""
    # A short path: the agent's socket is in there, and its name may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="gpg-"))
    try:
        yield folder
    finally:
        for home in folder.iterdir():
            process.run(["gpgconf", "--homedir", home, "--kill", "all"], timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Signer:
    """A throw-away OpenPGP key."""

    home: Path
    fingerprint: str
    keyring: Path

    def sign(self, document: bytes) -> bytes:
        path = self.home / "document"
        path.write_bytes(document)
        gpg(self.home, "--detach-sign", "--output", os.fspath(self.home / "document.sig"), os.fspath(path))
        signature = (self.home / "document.sig").read_bytes()
        (self.home / "document.sig").unlink()
        return signature

    def clearsign(self, text: bytes) -> bytes:
        path = self.home / "document"
        path.write_bytes(text)
        return gpg(self.home, "--clear-sign", "--output", "-", os.fspath(path)).encode()


def gpg(home: Path, *arguments: str) -> str:
    argv = [
        "gpg",
        "--homedir",
        os.fspath(home),
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--pinentry-mode",
        "loopback",
    ]
    return process.run([*argv, *arguments], timeout=60).stdout


def make_signer(home: Path, name: str, *options: str) -> Signer:
    home.mkdir(mode=0o700)
    expiry = "never" if not options else "1d"
    gpg(home, *options, "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", expiry)
    listing = gpg(home, "--with-colons", "--list-keys")
    fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))
    keyring = home / "keyring.gpg"
    gpg(home, "--output", os.fspath(keyring), "--export")
    return Signer(home, fingerprint, keyring)
