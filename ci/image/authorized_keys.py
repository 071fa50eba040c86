"""The public keys that may log in: read strictly, because a wrong line here is an open door or a closed one."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ci.host.errors import InputError

MAX_FILE_BYTES = 64 << 10
MIN_RSA_BITS = 2048

TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)

# The last is how the base64 of OpenSSH's own format begins, for a body pasted without its first line.
_PRIVATE = re.compile(rb"BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File-|b3BlbnNzaC1rZXktdj", re.IGNORECASE)
_CERTIFICATE = re.compile(r"[a-z0-9-]+-cert-v0[01]@openssh\.com")
_TYPE = re.compile(r"(?:sk-)?(?:ssh|ecdsa)-[a-z0-9@.-]+")
_OPTION = re.compile(
    r"(?:cert-authority|restrict|(?:no-)?(?:agent-forwarding|port-forwarding|pty|user-rc|x11-forwarding)"
    r"|no-touch-required|verify-required|[a-z0-9-]+=)",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Some letters of which each has one byte, or three, of zeros beside it.
_WIDE = re.compile(rb"(?:[ -~]\0(?:\0\0)?){4}|(?:\0(?:\0\0)?[ -~]){4}")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")
_KEY = rf"(?:{'|'.join(map(re.escape, TYPES))})[ \t]+AAAA"

_HOW_TO_ADD = (
    "Make a key with `ssh-keygen -t ed25519` and append the line of its .pub file to {path}, "
    "or name another file: AUTHORIZED_KEYS=~/.ssh/id_ed25519.pub"
)
_BURNT = (
    "Remove it from the file now, and consider the key burnt: make a new pair, and withdraw the old one wherever it is "
    "trusted. If the file was ever committed, the key is in the history. Only the line of the .pub file belongs here."
)
_BETTER = "Make a new one with `ssh-keygen -t ed25519`."
_ONE_LINE = "Each line is `TYPE BASE64 COMMENT`, as ssh-keygen writes it to the .pub file."
_WIDE_HINT = (
    "Windows PowerShell's `>` and `>>` write it: remove what it appended, and append the key with "
    "`Get-Content KEY.pub | Add-Content -Encoding ascii FILE`."
)
_ANEW = "Copy the .pub file itself, or type it anew: editors, chats and web pages exchange such characters."
_OPTIONS = f"Remove what stands before the key's type. {_ONE_LINE}"
# Options whose loss has a meaning of its own.
_LOST = {
    "from": "An address would shut everybody out: behind QEMU's network all clients are 10.0.2.2. ",
    "verify-required": "The key itself can ask for the PIN: `ssh-keygen -t ed25519-sk -O verify-required`. ",
}
# What people put in the place of a key: how it begins, what it is, what to do. Asked where it does not begin as a key.
_INSTEAD = (
    (r"-[ \t]|-$|[\w-]+:(?:[ \t]|$)", "this is YAML", f"Remove what stands before the key's type. {_ONE_LINE}"),
    (rf"[\"'`(\[{{<]+{_KEY}", "the key is in quotes or brackets", f"Remove them. {_ONE_LINE}"),
    (r"-+ ?BEGIN [A-Z0-9 ]*PUBLIC KEY", "this is a public key in another form", "`ssh-keygen -i -f FILE` converts it."),
    (r"(?:[0-9]+ )?(?:SHA256|MD5):", "this is a key's fingerprint, not the key", _ONE_LINE),
    (r"\S+\.pub$|~|[.]{0,2}/|[A-Za-z]:\\", "this is the name of a file, not what is in it", _ONE_LINE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedKey:
    """One public key. `line` is the form it is installed in; `fingerprint` is OpenSSH's, `SHA256:...`."""

    line: str
    fingerprint: str


def read_authorized_keys(path: Path) -> tuple[AuthorizedKey, ...]:
    """Read the keys in the order of the file, each once.

    Raises InputError where the file is missing, holds no key, or holds anything that is not a plain public key.
    """
    text = _read_text(path)
    keys: dict[str, AuthorizedKey] = {}
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        line = raw.strip(" \t")
        if line and not line.startswith("#"):
            key = _parse_line(line, where=f"{path}:{number}")
            keys.setdefault(key.fingerprint, key)
    if not keys:
        raise InputError(f"{path} holds no key: nobody could log in", hint=_HOW_TO_ADD.format(path=path))
    return tuple(keys.values())


def _read_text(path: Path) -> str:
    try:
        # Shells leave `~` as it is in quotes, and in `--authorized-keys=~/...`.
        with path.expanduser().open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except RuntimeError as error:
        raise InputError(f"{path}: there is no home folder of {path.parts[0]}", hint="Write the whole path.") from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise InputError(message, hint=_HOW_TO_ADD.format(path=path)) from error
    plain = data.replace(b"\0", b"")  # sees through UTF-16
    if match := _PRIVATE.search(plain):
        raise InputError(f"{path}:{_line_of(plain, match.start())}: this is a private key", hint=_BURNT)
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"{path}:{_line_of(data, MAX_FILE_BYTES)}: the file is longer than {MAX_FILE_BYTES >> 10} KiB",
            hint="Name a file that holds only the public keys that may log in.",
        )
    if (wide := _WIDE.search(data)) or data.startswith(_WIDE_MARKS):
        where = f"{path}:{_line_of(data, wide.start() if wide else 0)}"
        raise InputError(f"{where}: from here on the text is UTF-16 or UTF-32, not UTF-8", hint=_WIDE_HINT)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{path}:{_line_of(data, error.start)}"
        raise InputError(f"{where}: the text is not UTF-8", hint="Save the file as UTF-8.") from None


def _line_of(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _parse_line(line: str, *, where: str) -> AuthorizedKey:
    # No message quotes the line: whatever a person pasted by mistake stays out of logs.
    kind, encoded, comment = (*re.split(r"[ \t]+", line, maxsplit=2), "", "")[:3]
    known, words = kind in TYPES, re.split(r"[ \t]+", line)
    option = "" if known or not (found := _OPTION.match(line)) else found[0].rstrip("=").lower()
    foreign = next((letter for letter in kind + encoded if not letter.isascii()), " ")
    name = f"U+{ord(foreign):04X} ({unicodedata.name(foreign, 'without a name')})"
    instead = [(re.match(begins, line), problem, hint) for begins, problem, hint in _INSTEAD]
    for wrong, problem, hint in (
        (_CONTROL.search(line), "the line holds a control character", _ONE_LINE),
        (
            option,
            f"the line begins with options (`{option}`); the image takes plain keys only",
            f"{_LOST.get(option, '')}{_OPTIONS}",
        ),
        (
            not foreign.isprintable() or (foreign != " " and "AAAA" in line),  # how all keys begin in base64
            f"character {line.find(foreign) + 1} is {name}, which no key has",
            _ANEW,
        ),
        (known and re.search(_KEY, comment), "there is a second key in the line", "Begin a new line before it."),
        (_CERTIFICATE.fullmatch(kind), "this is a certificate, not a public key", _ONE_LINE),
        (kind == "ssh-dss", "OpenSSH no longer accepts DSA keys", _BETTER),
        *(row for row in instead if not known),
        (
            not known and set(words) & set(TYPES),
            "before the key's type stands something else: options, a host's name",
            _OPTIONS,
        ),
        (not known and _TYPE.fullmatch(kind), "a key of this type is not supported", _BETTER),
        (not known, "this is not a public key", _ONE_LINE),
    ):
        if wrong:
            raise InputError(f"{where}: {problem}", hint=hint)
    return _parse_key(kind, encoded, comment, where=where)


def _parse_key(kind: str, encoded: str, comment: str, *, where: str) -> AuthorizedKey:
    try:
        key = asyncssh.import_public_key(f"{kind} {encoded}")
    except (asyncssh.KeyImportError, ValueError):
        key = None
    # asyncssh skips foreign characters, sshd does not.
    if key is None or key.export_public_key().decode().split()[1] != encoded:
        raise InputError(f"{where}: the {kind} key is damaged or cut off", hint=_ONE_LINE)
    if key.get_algorithm() != kind:
        raise InputError(f"{where}: the line says {kind}, its key is another type", hint=_ONE_LINE)
    modulus = key.pyca_key
    if isinstance(modulus, RSAPublicKey) and modulus.key_size < MIN_RSA_BITS:
        raise InputError(
            f"{where}: an RSA key of {modulus.key_size} bits is too weak (at least {MIN_RSA_BITS})", hint=_BETTER
        )
    return AuthorizedKey(line=f"{kind} {encoded} {comment}".rstrip(" "), fingerprint=key.get_fingerprint("sha256"))
