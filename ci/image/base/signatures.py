"""Signed files as Ubuntu publishes them: `SHA256SUMS` with its detached signature, and texts that are clear-signed."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ci.host import process
from ci.host.errors import HostError, InputError, VerificationError

GPGV_SECONDS = 60
STATUS_PREFIX = "[GNUPG:] "
# One of these is said of each signature; only GOODSIG has a key that is neither expired nor revoked.
# https://github.com/gpg/gnupg/blob/master/doc/DETAILS
VERDICTS = {"GOODSIG", "BADSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "ERRSIG"}
CLEARSIGNED_FRAME = [
    b"-----BEGIN PGP SIGNED MESSAGE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----END PGP SIGNATURE-----",
]
ONE_DIGEST = "The list must have exactly one digest for the file; check the URL, or pin the digest yourself."
CHECKSUM_LINE = re.compile(r"(?P<digest>[0-9a-fA-F]{64}) [ *](?P<name>.+)")


class UnlistedError(Exception):
    """A list of digests has no line for a file: it may be older than the file, or of another folder."""


def read_clearsigned(signed: Path, *, name: str, keyring: Path, fingerprints: Sequence[str]) -> tuple[bytes, str]:
    """The text of a clear-signed file, and the fingerprint of the trusted key that signed it; `name` is for errors.

    The text is what gpgv says was signed; what else is in the file is not read. Raises what `trusted_signer` raises.
    """
    # In signed text a line never begins with a hyphen (RFC 9580, 7.2), so this counts messages. With several of them,
    # a good signature of one would seem to speak for all.
    frame = [line.rstrip() for line in signed.read_bytes().strip().splitlines() if line.startswith(b"-----")]
    if frame != CLEARSIGNED_FRAME:
        raise VerificationError(
            f"{name} is not one clear-signed text",
            hint="Something on the way may answer in the publisher's place. Look at what it is.",
        )
    text = signed.with_name(f"{signed.name}.text")
    signer = trusted_signer(["--output", text, signed], name, keyring=keyring, fingerprints=fingerprints)
    return text.read_bytes(), signer


def trusted_signer(arguments: Sequence[str | Path], name: str, *, keyring: Path, fingerprints: Sequence[str]) -> str:
    """Return the fingerprint of the trusted key that signed what gpgv's `arguments` are; `name` is for errors.

    Being in the keyring is not enough: the primary key's fingerprint must be one of `fingerprints`. Raises
    VerificationError, HostError (no keyring or no gpgv) or InputError (fingerprints).
    """
    if not fingerprints:
        raise InputError(
            f"the keyring {keyring} comes without a fingerprint",
            hint="Name the fingerprints of the keys that may sign: a keyring alone trusts every key in it.",
        )
    require_keyring(keyring)
    # gpgv looks for a keyring without a slash in its home folder.
    argv = ["gpgv", "--status-fd", "1", "--keyring", keyring.absolute(), *arguments]
    # 1 and 2 tell of a bad signature or a missing key; the status lines tell of which.
    result = process.run(argv, timeout=GPGV_SECONDS, ok=(0, 1, 2))
    signers = good_signers(result.stdout)
    if known := [signer for signer in signers if signer in fingerprints]:
        return known[0]
    raise VerificationError(
        f"the signature of {name} was not made by a trusted key: {_describe(result.stdout, signers)}",
        hint=f"Trusted: {', '.join(fingerprints)}. If the publisher changed its key, verify the new one by other means "
        "before you trust it; otherwise do not use this image.",
        details=result.stderr.strip(),
    )


def good_signers(status: str) -> list[str]:
    """The primary keys' fingerprints of all good signatures in gpgv's status output; none if any signature is bad."""
    signers = []
    verdict = ""
    for keyword, arguments in _status_lines(status):
        if keyword in VERDICTS:
            verdict = keyword
            if verdict == "BADSIG":
                return []
        elif keyword == "VALIDSIG" and verdict == "GOODSIG":
            # The tenth argument is the primary key's fingerprint, the first that of the subkey that signed.
            signers.append((arguments[9] if len(arguments) > 9 else arguments[0]).upper())
            verdict = ""
    return signers


def digest_of(checksums: str, name: str, *, source: str) -> str:
    """The SHA-256 of the file `name` in the text of a SHA256SUMS; `source` names that text in errors.

    Raises UnlistedError where it has no line for the file, VerificationError where it has several that differ.
    """
    lines = (CHECKSUM_LINE.fullmatch(line.rstrip()) for line in checksums.splitlines())
    found = {line["digest"].lower() for line in lines if line and line["name"] == name}
    if len(found) == 1:
        return found.pop()
    if not found:
        raise UnlistedError(f"{source} has no line for {name}")
    raise VerificationError(f"{source} has {len(found)} different digests for {name}", hint=ONE_DIGEST)


def require_keyring(keyring: Path) -> None:
    """Raise HostError unless `keyring` is a file that gpgv can read."""
    try:
        with keyring.open("rb") as file:
            start = file.read(11)
    except OSError as error:
        raise HostError(
            f"the keyring {keyring} cannot be read: {error.strerror}",
            hint="On Ubuntu: `apt-get install ubuntu-cloudimage-keyring`, then copy "
            f"/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg to {keyring} and compare its fingerprint with the one "
            "in the image definition. Or pin the image's digest.",
        ) from error
    if start == b"-----BEGIN ":
        raise HostError(
            f"the keyring {keyring} is in ASCII armour, which gpgv cannot read",
            hint=f"Convert it: `gpg --dearmor < {keyring} > {keyring.with_suffix('.gpg')}`",
        )


def _status_lines(status: str) -> Iterator[tuple[str, list[str]]]:
    for line in status.splitlines():
        if line.startswith(STATUS_PREFIX):
            keyword, *arguments = line.removeprefix(STATUS_PREFIX).split()
            yield keyword, arguments


def _describe(status: str, signers: Sequence[str]) -> str:
    if signers:
        return f"it is by {', '.join(signers)}"
    words = {
        "BADSIG": "it does not fit the file",
        "EXPSIG": "it has expired",
        "EXPKEYSIG": "its key has expired",
        "REVKEYSIG": "its key was revoked",
        "NO_PUBKEY": "its key is not in the keyring",
    }
    found = dict.fromkeys(words[keyword] for keyword, _ in _status_lines(status) if keyword in words)
    return ", ".join(found) or "it cannot be read as a signature"
