"""Every failure this project foresees, with its exit code and what to do next.

An entrypoint turns a `ToolsmithError` into one message and an exit code; anything else is a bug and keeps its
traceback. The codes are documented in docs/exit-codes.md, and a test keeps the two in step.
"""

import os
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

_ROOT = Path(__file__).resolve().parents[2]


def toolsmith(*argv: str) -> str:
    """One of our commands as it can be pasted here: by its name where PATH leads to it, else by its path."""
    shim = _ROOT / "scripts" / "toolsmith-image"
    found, here = shutil.which(shim.name), Path.cwd()
    if found and Path(found).resolve() == shim:
        return shlex.join([shim.name, *argv])
    return shlex.join([os.fspath(shim.relative_to(here) if shim.is_relative_to(here) else shim), *argv])


def make_setup() -> str:
    """What installs what is missing, as it can be pasted here."""
    return "make setup" if Path.cwd() == _ROOT else shlex.join(["make", "-C", os.fspath(_ROOT), "setup"])


class ToolsmithError(Exception):
    """A failure with a cause the user can act on.

    `hint` says what to do next. `details` is longer material, such as the last lines of a console.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details


class InputError(ToolsmithError):
    """A flag, an environment variable or a file written by a person is wrong."""

    exit_code = 2


class HostError(ToolsmithError):
    """This machine lacks something: a tool, a readable kernel, disk space, a free port."""

    exit_code = 3


class AcceleratorError(HostError):
    """KVM, which had been found to work, failed a guest: no sign of life, or a QEMU that aborted."""

    exit_code = 17

    def __init__(self, message: str, *, details: str = "") -> None:
        hint = "This machine's KVM cannot be relied on. Set TOOLSMITH_ACCELERATOR=tcg, which is slower and works " + (
            f"everywhere; `{toolsmith('doctor')}` tries KVM anew." if _ROOT.is_dir() else "everywhere."
        )
        super().__init__(message, hint=hint, details=details)


class FetchError(ToolsmithError):
    """A download did not complete."""

    exit_code = 4


class VerificationError(ToolsmithError):
    """Bytes are not what their digest or signature promises, or nothing vouches for them."""

    exit_code = 5


class BaseImageError(ToolsmithError):
    """The base image is authentic but cannot be built upon."""

    exit_code = 6


class BuildError(ToolsmithError):
    """The image could not be made."""

    exit_code = 7


class BootError(ToolsmithError):
    """The image did not come up: panic, hang, no SSH, or a QEMU that died."""

    exit_code = 8


class CheckError(ToolsmithError):
    """The image came up, but at least one check of the boot test failed."""

    exit_code = 9


class ToolError(ToolsmithError):
    """An external program failed, and no more specific error applies."""

    exit_code = 10


class ToolTimeoutError(ToolError):
    """An external program did not end in the time it was given."""

    exit_code = 11


class RemoteError(ToolsmithError):
    """GitHub did not answer, or not in a way that makes sense, after every attempt that is reasonable."""

    exit_code = 12


class RejectedError(RemoteError):
    """GitHub understood a request and refuses it; `codes` are its reasons, such as `already_exists`."""

    exit_code = 15

    def __init__(self, message: str, *, codes: Iterable[str] = ()) -> None:
        super().__init__(message, hint="The message is GitHub's; this request changed nothing.")
        self.codes = frozenset(codes)


class AccessError(ToolsmithError):
    """GitHub does not let us: no token, an expired one, one without the permission, or no such repository."""

    exit_code = 13


class RefusedError(ToolsmithError):
    """What is there already, or what is to be released, does not allow the next step. Nothing was changed."""

    exit_code = 14


class UnknownOriginError(ToolsmithError):
    """No release record that can be read tells where something comes from."""

    exit_code = 16


class UnprovenError(ToolsmithError):
    """Nothing contradicts where a file comes from, and nothing proves it: its attestation could not be checked."""

    exit_code = 18

    def __init__(self, name: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"where {name} was made could not be checked: {reason}", hint=hint)
        self.reason = reason


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP arrived. Not an `Exception`, so that no handler on the way swallows it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.exit_code = 128 + signum
